"""The evaluation before training, which arms with the same seed and start have in common: it is made once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entroshape.experiments.arms import Arm
from entroshape.methods import success_threshold
from entroshape.options import affecting
from entroshape.runs import RunDirectory
from entroshape.runs.points import has_point
from entroshape.training.config import TrainConfig
from entroshape.training.missing import missing_points


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is missing in the comparison, or that lacks evaluations."""

    arm: Arm
    config: TrainConfig
    path: Path

    @property
    def name(self) -> str:
        """Name of the run in messages."""
        return f"{self.arm.name}, seed {self.config.seed}"

    @property
    def log(self) -> Path:
        """File with the output of the run."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def lock(self) -> Path:
        """Lock file, held by the process that trains the run."""
        return self.path.with_name(f".{self.path.name}.lock")


def take_over_start(run: RunDirectory, job: Job) -> None:
    """Copies the evaluation before training, and its points, from runs of other arms, where this run lacks them."""
    for donor in evaluated_starts(job):
        if 0 not in run.evaluation_steps():
            run.write_evaluation(0, *donor.read_evaluation(0))
        starts = [each for each in missing_points(run, job.config) if each.weights == "start"]
        for fresh in {each.fresh for each in starts}:
            for point in donor.read_points(fresh):
                if (fresh, point.weights, point.step, point.temperature) in starts:
                    run.write_point(point, fresh)


def evaluated_starts(job: Job) -> Iterator[RunDirectory]:
    """Runs of other arms with the same seed and start that already have their evaluation before training."""
    for path in sorted(job.path.parent.parent.glob(f"*/{job.path.name}")):
        run = RunDirectory(path)
        there = path != job.path and run.config_path.is_file() and 0 in run.evaluation_steps()
        if there and _start(run.read_config(), job) == _start(_options(job), job):
            yield run


def _options(job: Job) -> dict[str, Any]:
    """The options of the run, which it keeps if it was begun with another device or number of threads."""
    run = RunDirectory(job.path)
    return run.read_config() if run.config_path.is_file() else job.config.to_dict()


def _start(config: dict[str, Any], job: Job) -> list[Any]:
    """All that the evaluation before training depends on."""
    options = [config.get(name) for name in affecting(job.config, "start")]
    # The success threshold is an option of the method, and also affects the metrics before training.
    return [*options, success_threshold(config["method"], config["method_options"])]


def _has_start(job: Job) -> bool:
    run = RunDirectory(job.path)
    # The fresh problems are evaluated after training, too late for a run that waits.
    points = (has_point(run.path, *point) for point in job.config.points_at(0))
    return 0 in run.evaluation_steps() and all(points)


class Starts:
    """Lets runs that are trained at the same time wait for the one that evaluates the start that they share.

    Args:
        stopped: set when no run may start any more.
        seconds: time between looks at the files of the run that is waited for.
    """

    def __init__(self, stopped: threading.Event, seconds: float) -> None:
        self._stopped, self._seconds = stopped, seconds
        self._lock = threading.Lock()
        self._evaluating: list[Job] = []

    @contextmanager
    def turn(self, job: Job) -> Iterator[None]:
        """Waits until no other run is evaluating the start of ``job``. The block is the training of ``job``."""
        while not self._begun(job):
            self._stopped.wait(self._seconds)
        try:
            yield
        finally:
            with self._lock:
                self._evaluating.remove(job)

    def _begun(self, job: Job) -> bool:
        with self._lock:
            start = _start(_options(job), job)
            before = [each for each in self._evaluating if _start(_options(each), job) == start]
            if self._stopped.is_set() or all(map(_has_start, before)):
                self._evaluating.append(job)
                return True
        return False
