"""The exponential mean of the weights, as a callback for any trainer of transformers or TRL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from entroshape.checks import check_number
from entroshape.printable import one_line
from entroshape.weights.files import write_weights
from entroshape.weights.states import check_same_weights, shapes, swapped, trained_parameters
from entroshape.weights.trainers import check_whole, checkpoint_of, unwrapped

FILE = "ema.safetensors"
"""Name of the mean's file in a checkpoint."""


class EMACallback(TrainerCallback):
    r"""Keeps an exponential mean of the weights, for any trainer of transformers or TRL.

    The mean begins as the weights before training. After every optimizer update it becomes
    :math:`\text{decay} \cdot \text{mean} + (1 - \text{decay}) \cdot \text{weights}`. The share of earlier weights
    halves every :math:`\ln 0.5 / \ln \text{decay}` updates: 34 for 0.98, 69 for 0.99, 693 for 0.999.

    It covers the weights that are trained; with LoRA those of the adapter, each factor by itself. It is held in float32
    (4 bytes per trained weight), also where the weights are bfloat16, because those would round small changes away. It
    is saved with every checkpoint as ``ema.safetensors`` and restored when the run is resumed. All processes hold the
    same mean, and the main process writes it.

    TRL's ``BEMACallback`` keeps a bias-corrected mean. It does not resume, and it copies the whole model.

    Args:
        decay: between 0 and 1, per optimizer update.
        resume_from: the checkpoint directory that the run resumes from. ``None``:
            ``checkpoint-N`` in the trainer's output directory, as in ``train(resume_from_checkpoint=True)``.

    Raises:
        ValueError: ``decay`` is not between 0 and 1. When training begins: the model is sharded over processes, nothing
            is trained, or the run is resumed from a checkpoint without this mean.

    Example:
        >>> mean = EMACallback(0.98)
        >>> trainer = GRPOTrainer(..., callbacks=[mean])                                # doctest: +SKIP
        >>> trainer.train()                                                             # doctest: +SKIP
        >>> with mean.applied():                                                        # doctest: +SKIP
        ...     trainer.save_model("model-ema")
    """

    def __init__(self, decay: float, *, resume_from: str | Path | None = None) -> None:
        check_number("decay", decay, minimum=0.0, maximum=1.0, exclusive=True)
        self.decay = decay
        self._resume_from = resume_from
        self._update = get_ema_multi_avg_fn(decay)
        self._model: nn.Module | None = None
        self._mean: dict[str, Tensor] = {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The mean, by the names of the model's parameters, in float32; not a copy.

        Raises:
            RuntimeError: training has not begun.
        """
        if not self._mean:
            raise RuntimeError("the mean exists once training has begun")
        return dict(self._mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the mean into the model, to evaluate or save it; after the block, its own weights are back, bit for bit.

        Raises:
            RuntimeError: training has not begun.
        """
        weights = self.weights
        assert self._model is not None  # set together with the mean
        with swapped(self._model, weights):
            yield

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Begins the mean, or restores it from the checkpoint."""
        check_whole("the mean of the weights")
        self._model = unwrapped(model)
        parameters = trained_parameters(self._model)
        if not parameters:
            raise ValueError("model has no weights that are trained, so there is nothing to average")
        # At least float32; a copy also where it is float32 already.
        self._mean = {name: weight.detach().to(_dtype(weight), copy=True) for name, weight in parameters.items()}
        if state.global_step:
            folder = checkpoint_of(args, state, self._resume_from)
            restored = load_file(check_mean(folder, self.decay))
            check_same_weights(shapes(self._mean), shapes(restored), "the model", str(folder / FILE))
            for name, tensor in restored.items():
                self._mean[name].copy_(tensor)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Takes the weights after an optimizer update into the mean."""
        assert self._model is not None  # training has begun
        parameters = trained_parameters(self._model)
        for dtype in {tensor.dtype for tensor in self._mean.values()}:
            names = [name for name, tensor in self._mean.items() if tensor.dtype == dtype]
            current = [parameters[name].detach().to(dtype) for name in names]
            self._update([self._mean[name] for name in names], current, 0)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes the mean into the checkpoint."""
        if state.is_world_process_zero:
            write_weights(checkpoint_of(args, state) / FILE, self._mean, {"decay": repr(self.decay)})


def check_mean(checkpoint: Path, decay: float) -> Path:
    """Returns the file of the mean that a checkpoint holds.

    Raises:
        ValueError: the checkpoint has no mean, its file is damaged, or it has another decay.
    """
    file = checkpoint / FILE
    if not file.is_file():
        raise ValueError(f"{checkpoint} has no {FILE}: this run was not trained with a mean of its weights")
    try:
        with safe_open(file, framework="pt") as content:
            there = (content.metadata() or {}).get("decay")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be loaded: {one_line(str(error))}") from error
    if there != repr(decay):
        raise ValueError(f"decay must be that of {file}, {there}; got {decay!r}")
    return file


def _dtype(weight: Tensor) -> torch.dtype:
    return torch.promote_types(weight.dtype, torch.float32)
