"""What a comparison refuses before it writes anything, and what keeps two of them apart."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from entroshape.models import check_readable, load_tokenizer
from entroshape.options import compared
from entroshape.runs import RunDirectory, files
from entroshape.runs.files import read_lines
from entroshape.tasks import load_task
from entroshape.training.config import TrainConfig

LOOKED_AT = 32
"""So many training problems, and an eighth as many others, are made to see that a task can be made."""

LOCK = ".comparison.lock"
"""Held by the comparison that is going on in a directory."""


def check_starts(configs: Iterable[TrainConfig], launcher: str | None) -> None:
    """Refuses what no run could start with: each task, reward and model is looked at once, without any weights.

    Raises:
        ValueError: a task, a reward or a model that is not there, a model that cannot read the task's prompts, or a
            launcher that is no program.
        ImportError: a task that needs a package which is not installed.
    """
    if launcher is not None:
        try:
            program = next(iter(shlex.split(launcher)), "")
        except ValueError as error:
            raise ValueError(f"launcher must be a command line; got {launcher!r}: {error}") from error
        if shutil.which(program) is None:
            raise ValueError(f"launcher must start with a program that can be run; got {launcher!r}")
    for task_spec, reward, model in dict.fromkeys((config.task, config.reward, config.model) for config in configs):
        task = load_task(task_spec, reward=reward, train_size=LOOKED_AT, test_size=LOOKED_AT // 8)
        check_readable(task, model, load_tokenizer(model))


def is_begun(run: RunDirectory) -> bool:
    """Whether the run has an evaluation or a step; without either it may be begun again with other options."""
    return run.config_path.is_file() and bool(run.evaluation_steps() or read_lines(run.metrics_path))


def check_begun(run: RunDirectory, config: TrainConfig) -> None:
    """Refuses to go on with a run that was begun with other options.

    Raises:
        ValueError: naming the directory, the option and both values.
    """
    if not is_begun(run):
        return
    there = run.read_config()
    for name in compared(config):
        wanted = getattr(config, name)
        if there.get(name) != wanted:
            raise ValueError(
                f"{run.path} holds a run with {name} = {there.get(name)!r}, where {wanted!r} is asked; "
                "choose another --output, or remove it"
            )


def held(directory: Path) -> AbstractContextManager[None]:
    """Makes the directory and holds it, so that no other comparison writes its file meanwhile.

    The system lets go of it when the process ends, however it ends.

    Raises:
        ValueError: another process holds it.
    """
    return files.held(
        directory / LOCK,
        f"output: another compare is at work in {directory}; let it finish and call this one again, "
        "or choose another --output",
    )
