"""Writes mixtures of two saved models as models, tensor by tensor, so that memory holds one file of the result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from entroshape.models import readable
from entroshape.runs.files import aside_of, is_aside, place_directory, remove_leftovers, write_aside, writing
from entroshape.weights.files import write_weights
from entroshape.weights.saved import ADAPTER_FILE, INDEX_FILE, SavedWeights
from entroshape.weights.states import check_same_weights, mixed_tensor, named

BESIDE_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""Files of a saved model that a mixture takes over from TRAINED. None of them is code."""

MAY_DIFFER = {
    "dtype",
    "torch_dtype",
    "transformers_version",
    "architectures",
    "use_cache",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "output_hidden_states",
    "output_attentions",
    "return_dict",
}
"""Entries of a model's configuration that do not change what its weights mean."""


def check_pair(start: SavedWeights, trained: SavedWeights) -> dict[str, str]:
    """Checks that two models can be mixed.

    Returns:
        The tensor of ``start`` that belongs to each tensor of ``trained``, by name.

    Raises:
        ValueError: they are not the same architecture; the message names entries, tensors or shapes that differ.
    """
    if start.is_adapter:
        raise ValueError(f"{start.folder} is an adapter; START must be a whole model")
    if start.folder.resolve() == trained.folder.resolve():
        raise ValueError(f"START and TRAINED are the same directory, {start.folder}")
    configs = [_config(saved.folder) for saved in (start, trained)]
    _check_same_architecture(*configs)
    tied = _tied_weights(configs[1]) if start.shapes.keys() != trained.shapes.keys() else {}
    # Tied weights are one parameter under several names, of which some files hold one and others all.
    belongs = {name: name if name in start.shapes else tied.get(name, name) for name in trained.shapes}
    for saved, other in ((start, trained), (trained, start)):
        _check_tied(saved, saved.shapes.keys() - other.shapes.keys(), tied)
    unread = {name for name in start.shapes.keys() - trained.shapes.keys() if tied.get(name) in trained.shapes}
    there = {name: shape for name, shape in start.shapes.items() if name not in unread}
    there |= {name: start.shapes[other] for name, other in belongs.items() if other in start.shapes}
    check_same_weights(there, trained.shapes, f"START ({start.folder})", f"TRAINED ({trained.folder})")
    return belongs


def write_mixture(
    trained: SavedWeights,
    mixture: Callable[[str], Tensor],
    output: Path,
    max_shard_size: str,
    progress: Callable[[int, int], None],
) -> None:
    """Writes a model atomically, with the tensors ``mixture(name)`` and the other files of ``trained``.

    Memory holds the tensors of one file at a time.

    Raises:
        ValueError: ``output`` exists, or a tensor is not finite.
        OSError: writing failed.
    """
    split = split_state_dict_into_shards_factory(
        trained.sizes,
        get_storage_size=lambda size: size,
        filename_pattern=ADAPTER_FILE if trained.is_adapter else "model{suffix}.safetensors",
        max_shard_size=max_shard_size if not trained.is_adapter else sum(trained.sizes.values()) + 1,
    )
    with _aside(output) as aside:
        done = 0
        for file, names in split.filename_to_tensors.items():
            shard = {}
            for name in names:
                shard[name] = _finite(name, mixture(name))
                done += 1
                progress(done, len(trained.sizes))
            write_weights(aside / file, shard)
            del shard
        if split.is_sharded:
            index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
            write_aside(aside / INDEX_FILE, lambda file: file.write(json.dumps(index, indent=2).encode()))
        _copy_beside(trained.folder, aside)


def mixture_of(start: SavedWeights, trained: SavedWeights, weight: float) -> Callable[[str], Tensor]:
    """The function that computes a tensor of the mixture, by its name.

    Raises:
        ValueError: see :func:`check_pair`.
    """
    if trained.is_adapter:
        return lambda name: _of_adapter(name, trained.read(name), weight)
    belongs = check_pair(start, trained)
    return lambda name: mixed_tensor(name, start.read(belongs[name]), trained.read(name), weight)


def _of_adapter(name: str, tensor: Tensor, weight: float) -> Tensor:
    return mixed_tensor(name, torch.zeros_like(tensor), tensor, weight)


def _finite(name: str, tensor: Tensor) -> Tensor:
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise ValueError(f"{name} is not finite: START or TRAINED has diverged")
    return tensor.contiguous()


@contextmanager
def _aside(output: Path) -> Iterator[Path]:
    """A directory to fill, which becomes ``output`` at the end of the block and is removed if the block fails."""
    aside = aside_of(output)
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(output)
        aside.mkdir()
    try:
        yield aside
        with writing(output):
            place_directory(aside, output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _copy_beside(folder: Path, to: Path) -> None:
    files = {file for pattern in BESIDE_WEIGHTS for file in folder.glob(pattern) if file.is_file()}
    for file in sorted(file for file in files if not is_aside(file)):
        with writing(to / file.name):
            shutil.copyfile(file, to / file.name)


def _config(folder: Path) -> Any:
    with readable(str(folder)):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if getattr(config, "quantization_config", None):
        raise ValueError(f"{folder} is quantized: numbers of a quantized model cannot be mixed")
    return config


def _check_same_architecture(start: Any, trained: Any) -> None:
    first, second = start.to_dict(), trained.to_dict()
    different = sorted(
        name
        for name in (first.keys() | second.keys()) - MAY_DIFFER
        if not name.startswith("_") and first.get(name) != second.get(name)
    )
    if different:
        name = different[0]
        raise ValueError(
            f"START and TRAINED are different architectures: config.json differs in {named(different)}; "
            f"{name} is {first.get(name)!r} and {second.get(name)!r}"
        )


def _tied_weights(config: Any) -> dict[str, str]:
    """The name of the weight that each tied one is the same as."""
    with torch.device("meta"), readable(config.name_or_path):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return dict(model.all_tied_weights_keys)


def _check_tied(saved: SavedWeights, names: Any, tied: dict[str, str]) -> None:
    """Refuses a file that holds a tied weight twice with different values."""
    for name in sorted(names):
        source = tied.get(name)
        if source in saved.shapes and not torch.equal(saved.read(name), saved.read(source)):
            raise ValueError(f"{saved.folder}: {name} and {source} are tied in config.json, but differ")
