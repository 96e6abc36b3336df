"""The anchor to the weights before training, as a callback for any trainer of transformers or TRL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from entroshape.checks import check_number
from entroshape.printable import shown
from entroshape.runs.files import write_aside
from entroshape.runs.reading import read_json
from entroshape.weights.states import ADAPTER, ZERO_FACTOR, trained_parameters
from entroshape.weights.trainers import check_whole, checkpoint_of, unwrapped

FILE = "anchor.json"
"""Name of the anchor's file in a checkpoint."""


class AnchorCallback(TrainerCallback):
    r"""Pulls the weights back towards those before training, for any trainer of transformers or TRL.

    After every optimizer update, :math:`\theta \leftarrow \theta - \text{rate} \cdot (\theta - \theta_0)`. This is
    decoupled weight decay (as in AdamW) towards the start instead of zero (L2-SP, Li et al., 2018, arXiv 1802.01483),
    and is not multiplied by the learning rate. Without other updates the distance halves every
    :math:`\ln 0.5 / \ln(1 - \text{rate})` updates: 231 for 0.003.

    An adapter of LoRA contributes nothing before training, so its contribution is what is scaled by ``1 - rate``: the
    factor of each product that begins as zero is, and the other is left alone.

    The weights before training are those of the model that the trainer is given, also in a run that is resumed. Their
    checksum is saved with every checkpoint as ``anchor.json``. They take as much memory as the trained weights; with
    LoRA, none.

    Args:
        rate: between 0 and 1, per optimizer update.
        resume_from: the checkpoint directory that the run resumes from. ``None``:
            ``checkpoint-N`` in the trainer's output directory, as in ``train(resume_from_checkpoint=True)``.

    Raises:
        ValueError: ``rate`` is not between 0 and 1. When training begins: the model is sharded over processes, nothing
            is trained, trained weights have less than float32's precision, an adapter was trained before or is DoRA's,
            or the run is resumed from a checkpoint of another anchor.

    Example:
        >>> trainer = GRPOTrainer(..., callbacks=[AnchorCallback(0.003)])               # doctest: +SKIP
    """

    def __init__(self, rate: float, *, resume_from: str | Path | None = None) -> None:
        check_number("rate", rate, minimum=0.0, maximum=1.0, exclusive=True)
        self.rate = rate
        self._resume_from = resume_from
        self._parameters: dict[str, nn.Parameter] = {}
        self._start: dict[str, Tensor] | None = None
        self._digest = ""

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Keeps the weights before training: those of a checkpoint are loaded later."""
        check_whole("the anchor")
        self._start = anchor_weights(trained_parameters(unwrapped(model)))
        self._digest = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Checks that a checkpoint to resume from has this anchor."""
        if self._start is None:
            if state.global_step:
                raise ValueError(
                    "AnchorCallback must be in the trainer's callbacks=[...] when a run is resumed: a callback that is "
                    "added later does not see the weights before training"
                )
            self.on_init_end(args, state, control, model=model)
        self._parameters = trained_parameters(unwrapped(model))
        assert self._start is not None  # just taken, otherwise
        self._start = {name: tensor.to(self._parameters[name].device) for name, tensor in self._start.items()}
        if state.global_step:
            folder = checkpoint_of(args, state, self._resume_from)
            if check_anchor(folder, self.rate) != self._checksum():
                raise ValueError(f"{folder / FILE} is of other weights before training than the model's")

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Pulls the weights after an optimizer update."""
        assert self._start is not None  # training has begun
        pull(self._parameters, self._start, self.rate)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes the rate and the checksum of the weights before training into the checkpoint."""
        if state.is_world_process_zero:
            content = json.dumps({"rate": self.rate, "start": self._checksum()}).encode()
            write_aside(checkpoint_of(args, state) / FILE, lambda opened: opened.write(content))

    def _checksum(self) -> str:
        if not self._digest:
            self._digest = _checksum(self._start or {})
        return self._digest


def anchor_weights(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """A copy of the weights that :func:`pull` needs: all but those of LoRA adapters.

    Raises:
        ValueError: there is nothing to anchor, or the anchor would not do what it says; see :class:`AnchorCallback`.
    """
    if not parameters:
        raise ValueError("model has no weights that are trained, so there is nothing to anchor")
    for name, weight in parameters.items():
        if torch.finfo(weight.dtype).bits < 32:
            raise ValueError(
                f"the anchor needs weights in float32, because {weight.dtype} rounds small pulls away; got {name}"
            )
        if ".lora_magnitude_vector" in name:
            raise ValueError(f"the anchor of an adapter needs LoRA without magnitudes (use_dora=False); got {name}")
        if ZERO_FACTOR.search(name) and bool(weight.detach().any()):
            raise ValueError(f"the anchor needs an adapter that contributes nothing before training; {name} is not 0")
    return {name: weight.detach().clone() for name, weight in parameters.items() if not ADAPTER.search(name)}


@torch.no_grad()
def pull(parameters: Mapping[str, Tensor], start: Mapping[str, Tensor], rate: float) -> None:
    """Moves ``parameters`` in place by ``rate`` of the way to ``start``; see :class:`AnchorCallback` for adapters.

    Example:
        >>> weights = {"w": torch.tensor([1.0, 2.0])}
        >>> pull(weights, {"w": torch.tensor([0.0, 2.0])}, 0.25)
        >>> weights
        {'w': tensor([0.7500, 2.0000])}
    """
    for name, weight in parameters.items():
        if name in start:
            weight.lerp_(start[name], rate)
        elif ZERO_FACTOR.search(name):
            weight.mul_(1 - rate)


def check_anchor(checkpoint: Path, rate: float) -> str:
    """Returns the checksum of the weights before training that a checkpoint holds.

    Raises:
        ValueError: the checkpoint has no anchor, its file is damaged, or it has another rate.
    """
    file = checkpoint / FILE
    if not file.is_file():
        raise ValueError(f"{checkpoint} has no {FILE}: this run was not trained with an anchor")
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("start"), str):
        raise ValueError(f"{file} must hold a rate and a checksum; got {shown(content)}")
    if content.get("rate") != rate:
        raise ValueError(f"rate must be that of {file}, {content.get('rate')!r}; got {rate!r}")
    return content["start"]


def _checksum(weights: Mapping[str, Tensor]) -> str:
    digest = sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {list(weights[name].shape)}\n".encode())
        digest.update(weights[name].cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
