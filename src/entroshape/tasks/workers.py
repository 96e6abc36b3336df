"""A pool of scoring processes. A completion that hangs, crashes or exhausts memory gets reward 0 and affects no other.

Processes are used because a thread cannot be stopped inside a long C call, and because some scorers evaluate a model's
text as Python. They are started as a separate program (:mod:`entroshape.tasks.score_worker`) and not by
:mod:`multiprocessing`, which would import the user's script again in each of them, including torch and the trainer.
Each process is a supervisor that forks judging children in a sandbox (:mod:`entroshape.sandbox`). POSIX only.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, NamedTuple

from entroshape.sandbox.bubblewrap import wrapped
from entroshape.tasks import score_worker

logger = logging.getLogger(__name__)

START_LIMIT = 120.0
"""Seconds that a worker may take to import its library, even on a busy machine."""

STARTS = 3
"""Number of attempts to start a worker before an error is raised."""

ATTEMPTS = 2
"""Number of attempts at a job. The first worker may have been killed from outside."""

PATIENCE = 10.0
"""Seconds past the time limits of a job after which its worker is killed."""

KEPT_VARIABLES = (
    "DYLD_LIBRARY_PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "MPLCONFIGDIR",
    "PYTHONHASHSEED",
    "PYTHONHOME",
    "TZ",
)
"""Environment variables that workers get, in addition to the Python path."""


class Judgement(NamedTuple):
    """The result of a job."""

    score: float
    answer: str | None
    """The final answer, normalised so that equal answers are equal strings. ``None``: there is none, or it could not be
    judged."""

    failure: str | None = None
    """Why there is no verdict, in which case the score is 0."""


class ScoringPool:
    """Processes that score jobs in parallel. They are started at the first job and then kept.

    Args:
        kind: the scorer, one of :data:`entroshape.tasks.score_worker.SCORERS`.
        workers: number of processes; by default one per CPU core, at most 8.
        time_limit: time limit per job in seconds. A process that exceeds it is killed and replaced.
        memory_limit: memory limit per process in bytes, in addition to its libraries (Linux only).

    Raises:
        ValueError: the kind is unknown, or a limit is not positive.
    """

    def __init__(
        self, kind: str, *, workers: int | None = None, time_limit: float = 5.0, memory_limit: int = 1 << 30
    ) -> None:
        if kind not in score_worker.SCORERS:
            raise ValueError(f"kind must be one of {', '.join(score_worker.SCORERS)}; got {kind!r}")
        count = min(8, os.cpu_count() or 1) if workers is None else workers
        for name, value in (("workers", count), ("time_limit", time_limit), ("memory_limit", memory_limit)):
            if value <= 0:
                raise ValueError(f"{name} must be positive; got {value!r}")
        self._kind = kind
        self._workers = [_Worker(kind, time_limit, memory_limit) for _ in range(count)]
        self._lock = threading.Lock()
        self._finalizer = weakref.finalize(self, _stop_all, self._workers)

    def score(self, jobs: Sequence[Mapping[str, Any]]) -> list[float]:
        """The scores of ``jobs``, in order; see :meth:`judge`."""
        return [judgement.score for judgement in self.judge(jobs)]

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Mechanisms that confine the processes, in addition to resource limits; known once they have started."""
        return self._workers[0].mechanisms

    def judge(self, jobs: Sequence[Mapping[str, Any]], *, warn: bool = True) -> list[Judgement]:
        """Score and final answer of each job, in order. Failed jobs get 0 and are counted in one logged warning.

        A job with ``"alone": True`` gets its own process, so that it cannot affect the verdicts of others.

        Raises:
            RuntimeError: a worker cannot start, for example because its library is missing.
        """
        idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()

        def ask(job: Mapping[str, Any]) -> Judgement:
            worker = idle.get()
            try:
                return worker.ask(json.dumps(job).encode())
            finally:
                idle.put(worker)

        with self._lock, ThreadPoolExecutor(max_workers=len(self._workers)) as threads:
            for worker in self._workers:
                idle.put(worker)
            judgements = list(threads.map(ask, jobs))
        failures = Counter(judgement.failure for judgement in judgements if judgement.failure)
        if failures and warn:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in failures.most_common())
            counts = (failures.total(), len(jobs))
            logger.warning("%s: %d of %d completions got reward 0: %s", self._kind, *counts, reasons)
        return judgements

    def close(self) -> None:
        """Ends the processes. The next job starts new ones."""
        _stop_all(self._workers)


class _Worker:
    """One process and the parent's end of its connection."""

    def __init__(self, kind: str, time_limit: float, memory_limit: int) -> None:
        self.kind, self.time_limit, self.memory_limit = kind, time_limit, memory_limit
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection | None = None
        self.mechanisms: tuple[str, ...] = ()
        self._around: tuple[str, ...] = ()

    def ask(self, job: bytes) -> Judgement:
        """The verdict of the process, or 0 with the reason why there is no verdict."""
        for _ in range(ATTEMPTS):
            connection = self._connected()
            try:
                connection.send_bytes(job)
                if not connection.poll(ATTEMPTS * self.time_limit + PATIENCE):
                    self.stop()
                    return Judgement(0.0, None, f"exceeded {self.time_limit:g} s")
                reply = json.loads(connection.recv_bytes())
            except (EOFError, OSError):
                self.stop()
                continue
            if "error" in reply:
                return Judgement(0.0, None, reply["error"])
            return Judgement(reply["score"], reply["answer"])
        return Judgement(0.0, None, "the scoring process died")

    def _connected(self) -> Connection:
        if self.connection is None or self.process is None or self.process.poll() is not None:
            self.stop()
            self._start()
        assert self.connection is not None
        return self.connection

    def _start(self) -> None:
        for _ in range(STARTS):
            with tempfile.TemporaryFile() as errors:
                hello = self._hello(errors)
                if hello is not None:
                    self.mechanisms = (*self._around, *json.loads(hello)["mechanisms"])
                    return
                self.stop()
                said = _tail(errors)
        raise RuntimeError(f"a scoring process ({self.kind}) cannot start: {said}")

    def _hello(self, errors: IO[bytes]) -> bytes | None:
        """Starts the process and waits for its first message; ``None`` if it dies or takes too long."""
        self.connection, theirs = Pipe()
        # -P: the program's folder has a reasoning_gym.py, which must not shadow the package of that name.
        command = [sys.executable, "-P", str(Path(score_worker.__file__)), str(theirs.fileno()), self.kind]
        command += [str(self.time_limit), str(self.memory_limit)]
        under = wrapped(command)
        self._around = ("bubblewrap",) if under != command else ()
        with theirs:
            self.process = subprocess.Popen(
                under,
                pass_fds=[theirs.fileno()],
                env=_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stderr=errors,
            )
        deadline = time.monotonic() + START_LIMIT
        try:
            # Short waits: the end of the process can go unnoticed while a copy of its end of the pipe is open.
            while not self.connection.poll(0.05):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    return None
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def stop(self) -> None:
        """Kills the process, if there is one, and waits for its end."""
        if self.connection is not None:
            self.connection.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.connection = self.process = None


def _environment() -> dict[str, str]:
    """The environment of a worker: what Python needs to start, and no other variables, which often hold secrets."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    ours = Path(score_worker.__file__).parents[2]
    path = [
        str(ours),
        *(os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry),
    ]
    # One thread for numerical libraries: on a large machine, their stacks and buffers would exceed the memory limit.
    return kept | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()[-2000:] or f"no reply for {START_LIMIT:g} s"


def _stop_all(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.stop()
