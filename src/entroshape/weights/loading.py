"""Loads mixtures of two models without writing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from entroshape.models import load_model, readable, resolve_model
from entroshape.weights.adapters import check_adapter
from entroshape.weights.merging import BESIDE_WEIGHTS, check_pair
from entroshape.weights.saved import SavedWeights
from entroshape.weights.states import ZERO_FACTOR, mixed_tensor


def load_mixture(start: str, trained: str, weight: float) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads ``(1 - weight) * start + weight * trained`` in float32, and the tokenizer of ``trained``.

    Both models are in memory at the same time. See :func:`entroshape.weights.mixed` for LoRA adapters.

    Args:
        start: the model before training: hub id, directory, or the name of a bundled model.
        trained: the same model after training, or a LoRA adapter of it: hub id or directory.
        weight: the share of ``trained``, from 0 to 1.

    Raises:
        ValueError: a model cannot be loaded, or the two do not fit together.
    """
    saved = SavedWeights(model_directory(trained))
    if saved.is_adapter:
        check_adapter(saved.folder, start, saved.shapes)
    else:
        check_pair(SavedWeights(model_directory(start)), saved)
    model, tokenizer = load_model(trained)
    weights = parameters(model)
    before = weights_before(weights, start, is_adapter=saved.is_adapter)
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(mixed_tensor(name, before[name], tensor, weight))
    return model, tokenizer


def parameters(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights of a model by name, without gradient; not copies."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def weights_before(trained: Mapping[str, Tensor], start: str, *, is_adapter: bool) -> dict[str, Tensor]:
    """The weights before training that belong to ``trained``, for :func:`entroshape.weights.mixed`.

    Args:
        trained: the trained weights, see :func:`parameters`.
        start: the model before training: hub id, directory, or the name of a bundled model.
        is_adapter: whether an adapter of ``start`` was trained.
    """
    return adapter_start(trained) if is_adapter else parameters(load_model(start)[0])


def adapter_start(trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with which a model with a LoRA adapter began, as far as :func:`entroshape.weights.mixed` reads them.

    The factors that begin as zero are zero; all others are those of ``trained``.

    Example:
        >>> adapter_start({"q_proj.lora_B.weight": torch.ones(1), "q_proj.weight": torch.ones(1)})
        {'q_proj.lora_B.weight': tensor([0.]), 'q_proj.weight': tensor([1.])}
    """
    return {name: torch.zeros_like(w) if ZERO_FACTOR.search(name) else w for name, w in trained.items()}


def model_directory(name: str) -> Path:
    """The directory of a model; files of a model on the hub are downloaded, without weights other than safetensors.

    Raises:
        ValueError: the model does not exist.
    """
    place = resolve_model(name)
    if Path(place).is_dir():
        return Path(place)
    with readable(name):
        return Path(snapshot_download(place, allow_patterns=["*.safetensors", "*.index.json", *BESIDE_WEIGHTS]))
