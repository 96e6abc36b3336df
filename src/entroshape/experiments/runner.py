"""Trains the missing runs of a comparison, each as a plain ``entroshape train`` in its own process."""

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
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn

from entroshape.experiments.preflight import check_begun, is_begun
from entroshape.experiments.record import is_finished, run_record
from entroshape.experiments.starts import Job, Starts, take_over_start
from entroshape.options import affecting
from entroshape.runs import RunDirectory
from entroshape.runs.files import read_lines, taken
from entroshape.terminal import text_column
from entroshape.training.config import TrainConfig

SECONDS_BETWEEN_LOOKS = 1.0
ERROR_PREFIX = "entroshape: "
"""Prefix of the error messages of the ``entroshape`` command."""


class RunFailedError(RuntimeError):
    """A run failed. The message is the end of its output."""

    def __init__(self, job: Job, said: str) -> None:
        super().__init__(said)
        self.job = job


class Runner:
    """Trains runs in parallel, each in its own process, and returns the record of each finished run.

    If it is killed, only the steps since the last checkpoints are lost, and the next call resumes the runs.

    Args:
        parallel: number of runs at a time.
        console: where progress is shown.
        keep_checkpoints: whether to keep the checkpoints of finished runs.
        launcher: command that starts a run instead of this Python, such as ``accelerate launch --num_processes 8``.
    """

    def __init__(
        self, parallel: int, console: Console, *, keep_checkpoints: bool = False, launcher: str | None = None
    ) -> None:
        self._parallel, self._console, self._keep = parallel, console, keep_checkpoints
        self._launcher = shlex.split(launcher) if launcher else [sys.executable]
        self._stopped = threading.Event()
        self._starts = Starts(self._stopped, SECONDS_BETWEEN_LOOKS)
        self._progress = Progress(
            text_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )

    def run(self, jobs: list[Job], finished: Callable[[dict[str, Any]], None]) -> list[RunFailedError]:
        """Runs all jobs. ``finished`` is called with the record of each run, as soon as it is available.

        Returns:
            The failures, each with the end of the output; the full output is in the job's ``log``.
        """
        failed = []
        with self._progress, ThreadPoolExecutor(self._parallel) as pool, self._stopping():
            overall = self._progress.add_task("runs", total=len(jobs))
            futures = [pool.submit(self._do, job) for job in jobs]
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, RunFailedError):
                    failed.append(error)
                    line = f"{error.job.name} failed: {error} (full output: {error.job.log})"
                    self._console.print(line, soft_wrap=True)
                else:
                    finished(future.result())
                self._progress.advance(overall)
        return failed

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """On an interrupt, stops the running runs and starts no others."""
        try:
            yield
        except BaseException:
            self._stopped.set()
            raise

    def _do(self, job: Job) -> dict[str, Any]:
        run = RunDirectory(job.path)
        job.path.parent.mkdir(parents=True, exist_ok=True)
        with job.lock.open("ab") as lock, self._starts.turn(job):
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
        """Waits for the lock, which a run still holds if its comparison was killed."""
        while not (self._stopped.is_set() or taken(lock)):
            self._stopped.wait(SECONDS_BETWEEN_LOOKS)

    def _prepare(self, run: RunDirectory, job: Job) -> None:
        try:
            # Checked again, because another process may have started this run with other options meanwhile.
            check_begun(run, job.config)
        except ValueError as error:
            raise RunFailedError(job, str(error)) from error
        if not run.config_path.is_file():
            RunDirectory.create(job.path)
        if not is_begun(run):
            run.write_config(job.config.to_dict())
        _ask_further(run, job.config)
        take_over_start(run, job)

    def _train(self, job: Job, lock: int) -> None:
        # A new run is also started with --resume, so that one command serves the first call and all later ones.
        command = [*self._launcher, "-m", "entroshape", "train", "--resume", str(job.path)]
        # Parallel runs that each use all cores would slow each other down many times over.
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
            raise RunFailedError(job, _last_message(job.log, start) or f"ended with status {process.returncode}")

    def _show(self, bar: TaskID, job: Job) -> None:
        self._progress.update(bar, completed=len(read_lines(RunDirectory(job.path).metrics_path)))


def _ask_further(run: RunDirectory, config: TrainConfig) -> None:
    """Writes the further evaluations that are wanted now into the options of a run that was begun without them."""
    there = run.read_config()
    wanted = {name: getattr(config, name) for name in affecting(config, "further")}
    if any(there.get(name) != value for name, value in wanted.items()):
        recorded = there.pop("environment", None)
        run.write_config({**there, **wanted}, recorded or {})


def _last_message(log: Path, start: int) -> str:
    """The last message of a process after ``start``: its own error message if there is one, otherwise its last line."""
    text = log.read_bytes()[start:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(ERROR_PREFIX)]
    return (own or lines or [""])[-1].removeprefix(ERROR_PREFIX)
