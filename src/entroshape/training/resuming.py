"""Resuming a run: the choice of the checkpoint, other numbers of processes, and runs with nothing left to train."""

from __future__ import annotations

import random
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import set_seed
from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.runs import RunDirectory
from entroshape.runs.checkpoints import updates_in
from entroshape.training.config import TrainConfig
from entroshape.training.saving import check_checkpoint
from entroshape.weights.anchor import check_anchor
from entroshape.weights.mean import check_mean


class NothingLeftToTrain(TrainerCallback):
    """Ends the training of a run that is resumed at its last step, before transformers makes another update.

    The weights of the checkpoint are loaded by then, however the model is sharded over processes.
    """

    class Reached(Exception):  # noqa: N818 - not an error: it leaves transformers' loop
        """The weights are those of the last step."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raises ``Reached`` if all updates have been made."""
        if state.global_step >= state.max_steps:
            raise self.Reached


class OtherProcesses(TrainerCallback):
    """Seeds processes if the run is resumed on another number of processes.

    A checkpoint has one random state per process that wrote it. On another number of processes, the run continues
    deterministically, but with other random draws than an uninterrupted run.

    Args:
        checkpoint: the checkpoint that the run resumes from.
        seed: the seed of the run.
    """

    def __init__(self, checkpoint: Path, seed: int) -> None:
        self._checkpoint, self._seed = checkpoint, seed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Seeds this process from the run's seed, the step and its rank, if the checkpoint has no state for it."""
        if _random_states(self._checkpoint) != args.world_size:
            key = f"{self._seed}/{state.global_step}/{args.process_index}"
            set_seed(random.Random(key).getrandbits(31))


def resume_point(run: RunDirectory, config: TrainConfig, console: Console) -> Path | None:
    """Finds the last complete checkpoint, and deletes what was written after it, because it will be repeated."""
    checkpoint, state = run.latest_checkpoint(), PartialState()
    step = config.steps_of(updates_in(checkpoint)) if checkpoint else 0
    if state.is_main_process:
        if checkpoint:
            check_checkpoint(checkpoint)
            if config.ema_decay:
                check_mean(checkpoint, config.ema_decay)
            if config.anchor:
                check_anchor(checkpoint, config.anchor)
        run.check_tables(step)
        run.forget_after(step)
        console.print(
            f"resuming from step {step} ({checkpoint.name})"
            if checkpoint
            else "starting from the beginning: there is no checkpoint yet"
        )
        wrote = _random_states(checkpoint) if checkpoint else state.num_processes
        if wrote != state.num_processes:
            console.print(
                f"warning: the checkpoint was written by {_counted(wrote)} and is resumed by "
                f"{_counted(state.num_processes)}. The run continues with the same prompts, but its random draws "
                "differ from those of an uninterrupted run",
                soft_wrap=True,
            )
    state.wait_for_everyone()
    return checkpoint


@cache
def load_onto_numbered_cpus() -> None:
    """Lets ``torch.load`` put tensors on ``cpu:0``, accelerate's name for a rank's CPU; torch knows only ``cpu``.

    This must run only once per process, because torch sorts its packages and cannot compare two of equal priority.
    """
    torch.serialization.register_package(
        9, lambda storage: None, lambda storage, location: storage if location.startswith("cpu:") else None
    )


def train_from(trainer: ShapedGRPOTrainer, checkpoint: Path | None) -> None:
    """Trains up to the last step. If the checkpoint is from the last step, this only loads its weights."""
    with suppress(NothingLeftToTrain.Reached):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _random_states(checkpoint: Path) -> int:
    """The number of processes that wrote the checkpoint."""
    return len(list(checkpoint.glob("rng_state*.pth")))


def _counted(processes: int) -> str:
    return f"{processes} process{'es' * (processes != 1)}"
