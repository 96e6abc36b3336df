"""Checks that a comparison makes before it writes anything, and the lock that excludes a second one."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from entroshape.experiments.record import is_trained
from entroshape.models import check_readable, load_tokenizer
from entroshape.options import compared
from entroshape.runs import RunDirectory, files
from entroshape.runs.files import read_lines
from entroshape.tasks import load_task
from entroshape.training.config import TrainConfig
from entroshape.training.missing import Missing

CHECKED_PROBLEMS = 32
"""Number of training problems that are generated to check a task; an eighth as many test problems."""

LOCK = ".comparison.lock"
"""Lock file of a running comparison."""


def check_starts(configs: Iterable[TrainConfig], launcher: str | None) -> None:
    """Checks that runs can start: each task, reward and model is checked once, without loading weights.

    Raises:
        ValueError: a task, reward or model does not exist, a model cannot read the task's prompts, or the launcher is
            not a program.
        ImportError: a task needs a package that is not installed.
    """
    if launcher is not None:
        try:
            program = next(iter(shlex.split(launcher)), "")
        except ValueError as error:
            raise ValueError(f"launcher must be a command line; got {launcher!r}: {error}") from error
        if shutil.which(program) is None:
            raise ValueError(f"launcher must start with an executable program; got {launcher!r}")
    for task_spec, reward, model, fresh in dict.fromkeys(
        (config.task, config.reward, config.model, min(config.fresh, CHECKED_PROBLEMS)) for config in configs
    ):
        task = load_task(
            task_spec,
            reward=reward,
            train_size=CHECKED_PROBLEMS,
            test_size=CHECKED_PROBLEMS // 8,
            fresh=fresh or None,
        )
        check_readable(task, model, load_tokenizer(model))


def is_begun(run: RunDirectory) -> bool:
    """Whether the run has an evaluation or a step. Without either, it may be restarted with other options."""
    return run.config_path.is_file() and bool(run.evaluation_steps() or read_lines(run.metrics_path))


def check_begun(run: RunDirectory, config: TrainConfig) -> None:
    """Refuses to resume a run that was started with other options.

    Raises:
        ValueError: the message names the directory, the option and both values.
    """
    if not is_begun(run):
        return
    there = run.read_config()
    for name in compared(config):
        wanted = getattr(config, name)
        if there.get(name) != wanted:
            raise ValueError(
                f"{run.path} contains a run with {name} = {there.get(name)!r}, but {wanted!r} was requested; "
                "choose another --output, or remove it"
            )


def check_saved(run: RunDirectory, config: TrainConfig, points: Sequence[Missing]) -> None:
    """Refuses to evaluate a run whose weights are gone.

    Args:
        run: the run.
        config: its options.
        points: what the run lacks.

    Raises:
        ValueError: the message names the directory and the first point.
    """
    if not is_trained(run, config):
        first = points[0]
        problems = f" on {first.fresh} fresh problems" if first.fresh else ""
        raise ValueError(
            f"a run has no evaluation of {first.weights} at temperature {first.temperature:g}{problems}, and its "
            f"weights are gone: {run.path} is not the directory of a finished run. Leave this out of "
            "--eval-temperatures, --eval-mixtures or --fresh, or choose another --output"
        )


def held(directory: Path) -> AbstractContextManager[None]:
    """Creates the directory and locks it, so that no other comparison writes to it.

    The system releases the lock when the process ends, in whatever way.

    Raises:
        ValueError: another process holds the lock.
    """
    return files.held(
        directory / LOCK,
        f"output: another compare is running in {directory}; wait until it finishes, or choose another --output",
    )
