"""Running what a comparison still lacks: each run a plain ``entroshape train`` in a process of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from entroshape.experiments.arms import Arm
from entroshape.experiments.preflight import check_begun, is_begun
from entroshape.experiments.record import is_finished, run_record
from entroshape.methods import build_method
from entroshape.options import affecting
from entroshape.runs import RunDirectory
from entroshape.runs.files import read_lines, taken
from entroshape.terminal import text_column
from entroshape.training.config import TrainConfig

SECONDS_BETWEEN_LOOKS = 1.0
OWN_WORDS = "entroshape: "
"""What the command's own sentence of a failure begins with."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run that is still to be done."""

    arm: Arm
    config: TrainConfig
    path: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.arm.name}, seed {self.config.seed}"

    @property
    def log(self) -> Path:
        """What the run prints."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def lock(self) -> Path:
        """Held by whoever does the run."""
        return self.path.with_name(f".{self.path.name}.lock")


class RunFailedError(RuntimeError):
    """A run came to no end; the message is what it said last."""

    def __init__(self, job: Job, said: str) -> None:
        super().__init__(said)
        self.job = job


class Runner:
    """Does jobs side by side, each in its own process, and hands over each finished run's record.

    Killed at any moment it loses nothing but the steps since the last checkpoints: the next call goes on.

    Args:
        parallel: runs at a time.
        console: where to show progress.
        keep_checkpoints: keep what runs could be resumed from after they are finished.
        launcher: what starts a run in place of this Python, such as ``accelerate launch --num_processes 8``.
    """

    def __init__(
        self, parallel: int, console: Console, *, keep_checkpoints: bool = False, launcher: str | None = None
    ) -> None:
        self._parallel, self._console, self._keep = parallel, console, keep_checkpoints
        self._launcher = shlex.split(launcher) if launcher else [sys.executable]
        self._stopped = threading.Event()
        self._progress = Progress(
            text_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )

    def run(self, jobs: list[Job], finished: Callable[[dict[str, Any]], None]) -> list[RunFailedError]:
        """Does all jobs; ``finished`` is called with each record, one at a time, as soon as it is there.

        Returns:
            The failures, with what each run said last; all that it printed is in its job's ``log``.
        """
        failed = []
        with self._progress, ThreadPoolExecutor(self._parallel) as pool, self._stopping():
            overall = self._progress.add_task("runs", total=len(jobs))
            futures = [pool.submit(self._do, job) for job in jobs]
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, RunFailedError):
                    failed.append(error)
                    line = f"{error.job.name} failed: {error} (all of its output: {error.job.log})"
                    self._console.print(line, soft_wrap=True)
                else:
                    finished(future.result())
                self._progress.advance(overall)
        return failed

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """On the way out by an interrupt, ends the runs that are going on and starts no others."""
        try:
            yield
        except BaseException:
            self._stopped.set()
            raise

    def _do(self, job: Job) -> dict[str, Any]:
        run = RunDirectory(job.path)
        job.path.parent.mkdir(parents=True, exist_ok=True)
        with job.lock.open("ab") as lock:
            self._wait_for(lock)
            if self._stopped.is_set():
                raise RunFailedError(job, "stopped")
            self._prepare(run, job)
            if not is_finished(run, job.config):
                self._train(job, lock.fileno())
        record = run_record(run, job.arm, job.config)
        if not self._keep:
            shutil.rmtree(run.checkpoints_path, ignore_errors=True)
        return record

    def _wait_for(self, lock: IO[bytes]) -> None:
        """A run outlives a comparison that was killed; it holds the lock, and is waited for."""
        while not (self._stopped.is_set() or taken(lock)):
            self._stopped.wait(SECONDS_BETWEEN_LOOKS)

    def _prepare(self, run: RunDirectory, job: Job) -> None:
        try:
            # Once more: what was waited for may have been begun with other options in the meantime.
            check_begun(run, job.config)
        except ValueError as error:
            raise RunFailedError(job, str(error)) from error
        if not run.config_path.is_file():
            RunDirectory.create(job.path)
        if not is_begun(run):
            run.write_config(job.config.to_dict())
        donor = next(_evaluated_starts(job), None)
        if donor is not None and 0 not in run.evaluation_steps():
            rows, metrics = donor.read_evaluation(0)
            run.write_evaluation(0, rows, metrics)

    def _train(self, job: Job, lock: int) -> None:
        # A plain run that was not begun is resumed from nothing: one command for the first time and for all others.
        command = [*self._launcher, "-m", "entroshape", "train", "--resume", str(job.path)]
        # Side by side, runs that each take all cores slow each other down many times over.
        threads = {"OMP_NUM_THREADS": str(job.config.threads or 1)} if self._parallel > 1 else {}
        with job.log.open("ab") as log:
            start = log.tell()
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **threads},
                start_new_session=True,
                pass_fds=(lock,) if os.name == "posix" else (),
            )
        bar = self._progress.add_task(job.name, total=job.config.steps)
        try:
            while process.poll() is None and not self._stopped.is_set():
                self._show(bar, job)
                self._stopped.wait(SECONDS_BETWEEN_LOOKS)
            if process.poll() is None:
                process.terminate()
            process.wait()
        finally:
            self._progress.remove_task(bar)
        if process.returncode:
            raise RunFailedError(job, _last_words(job.log, start) or f"ended with status {process.returncode}")

    def _show(self, bar: TaskID, job: Job) -> None:
        self._progress.update(bar, completed=len(read_lines(RunDirectory(job.path).metrics_path)))


def _last_words(log: Path, start: int) -> str:
    """What a process said last, behind ``start``: its own sentence of what went wrong, or else its last line."""
    text = log.read_bytes()[start:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(OWN_WORDS)]
    return (own or lines or [""])[-1].removeprefix(OWN_WORDS)


def _evaluated_starts(job: Job) -> Iterator[RunDirectory]:
    """Runs beside this one, of other arms with the same start, whose evaluation before training is done."""
    start = affecting(job.config, "start")
    wanted = [getattr(job.config, name) for name in start]
    threshold = build_method(job.config.method, job.config.method_options).success_threshold
    for path in sorted(job.path.parent.parent.glob(f"*/{job.path.name}")):
        run = RunDirectory(path)
        if path != job.path and run.config_path.is_file() and 0 in run.evaluation_steps():
            config = run.read_config()
            if [config.get(name) for name in start] != wanted:
                continue
            # What counts as a success is the method's, and shows in the figures before training as well.
            if build_method(config["method"], config["method_options"]).success_threshold == threshold:
                yield run
