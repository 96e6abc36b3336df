"""Resuming a run: from which checkpoint, on how many processes, and what to do when nothing is left to train."""

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


class NothingLeftToTrain(TrainerCallback):
    """Ends the training of a run that is resumed at its last step, before the update that transformers would make.

    By then the checkpoint's weights are loaded, whichever way the model is spread over processes.
    """

    class Reached(Exception):  # noqa: N818 - no error: it leaves transformers' loop
        """The weights are those of the last step."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raises ``Reached`` if all updates are made."""
        if state.global_step >= state.max_steps:
            raise self.Reached


class OtherProcesses(TrainerCallback):
    """Draws of its own for a process whose random state the checkpoint does not hold.

    A checkpoint holds one random state per process that wrote it. On another number of processes the run continues,
    deterministically, with other draws than those that the same processes would have made.

    Args:
        checkpoint: what the run is resumed from.
        seed: of the run.
    """

    def __init__(self, checkpoint: Path, seed: int) -> None:
        self._checkpoint, self._seed = checkpoint, seed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Seeds this process by the run's seed, the step and its rank, if it has no random state to load."""
        if _random_states(self._checkpoint) != args.world_size:
            key = f"{self._seed}/{state.global_step}/{args.process_index}"
            set_seed(random.Random(key).getrandbits(31))


def resume_point(run: RunDirectory, config: TrainConfig, console: Console) -> Path | None:
    """The last whole checkpoint; what was written past it is forgotten, because it will be done again."""
    checkpoint, state = run.latest_checkpoint(), PartialState()
    step = config.steps_of(updates_in(checkpoint)) if checkpoint else 0
    if state.is_main_process:
        if checkpoint:
            check_checkpoint(checkpoint)
        run.check_tables(step)
        run.forget_after(step)
        console.print(
            f"resuming from step {step} ({checkpoint.name})"
            if checkpoint
            else "starting over: there is no checkpoint yet"
        )
        wrote = _random_states(checkpoint) if checkpoint else state.num_processes
        if wrote != state.num_processes:
            console.print(
                f"warning: {_counted(wrote)} wrote the checkpoint, {_counted(state.num_processes)} resume it: the run "
                "continues with the same prompts, but its draws differ from those of an uninterrupted run",
                soft_wrap=True,
            )
    state.wait_for_everyone()
    return checkpoint


@cache
def load_onto_numbered_cpus() -> None:
    """Lets ``torch.load`` put tensors on ``cpu:0``, as accelerate calls a rank's CPU; torch knows ``cpu`` alone.

    Once per process: torch keeps its packages in order, and cannot compare two of the same place.
    """
    torch.serialization.register_package(
        9, lambda storage: None, lambda storage, location: storage if location.startswith("cpu:") else None
    )


def train_from(trainer: ShapedGRPOTrainer, checkpoint: Path | None) -> None:
    """Trains up to the last step; a run that has got there already trains nothing, and has its weights loaded."""
    with suppress(NothingLeftToTrain.Reached):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _random_states(checkpoint: Path) -> int:
    """How many processes wrote the checkpoint."""
    return len(list(checkpoint.glob("rng_state*.pth")))


def _counted(processes: int) -> str:
    return f"{processes} process{'es' * (processes != 1)}"
