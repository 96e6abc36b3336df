"""A small pool of scoring processes: an answer that hangs, crashes or eats memory costs its own point and nothing else.

Processes, since no thread can be stopped inside a long C call, and some scorers evaluate a model's text as Python.
They are started as programs of their own (:mod:`entroshape.tasks.score_worker`) rather than by :mod:`multiprocessing`,
which would import the user's script again in each of them, torch, trainer and all. Each is a supervisor that forks the
children which judge, in a sandbox (:mod:`entroshape.sandbox`). POSIX only.
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
"""Seconds that a worker may take to import its library, on a busy machine."""

STARTS = 3
"""Times that a worker is started before its death is an error."""

ATTEMPTS = 2
"""Times that a job is handed to a worker: the first one may have been killed from outside."""

PATIENCE = 10.0
"""Seconds beyond a job's limit after which a worker that does not keep it is killed."""

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
"""All that a worker gets of the environment, beside the Python path."""


class Judgement(NamedTuple):
    """What a scoring process says of a job."""

    score: float
    answer: str | None
    """The answer that was judged, equal ones written alike; ``None``: there is none, or it could not be judged."""

    failure: str | None = None
    """Why there is no verdict; the score is then 0."""


class ScoringPool:
    """Processes that score jobs side by side, started at the first job and kept for the next ones.

    Args:
        kind: the scorer, one of :data:`entroshape.tasks.score_worker.SCORERS`.
        workers: processes; by default one a CPU core, at most 8.
        time_limit: seconds a job may take. Then its process is killed and a new one started.
        memory_limit: bytes a process may take beyond what its libraries take (Linux only).

    Raises:
        ValueError: an unknown kind, or a limit that is not positive.
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
        """What confines the processes beyond resource limits; known once they have started."""
        return self._workers[0].mechanisms

    def judge(self, jobs: Sequence[Mapping[str, Any]], *, warn: bool = True) -> list[Judgement]:
        """Score and answer of each job, in order; 0 for a job that failed, with one logged warning for all that did.

        A job that says ``"alone": True`` gets a process to itself, so that it can spoil no other one's verdict.

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
            logger.warning("%s: %d of %d answers scored 0: %s", self._kind, failures.total(), len(jobs), reasons)
        return judgements

    def close(self) -> None:
        """End the processes. The next job starts new ones."""
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
        """The process's verdict; or 0, and the reason why there is none."""
        for _ in range(ATTEMPTS):
            connection = self._connected()
            try:
                connection.send_bytes(job)
                if not connection.poll(ATTEMPTS * self.time_limit + PATIENCE):
                    self.stop()
                    return Judgement(0.0, None, f"more than {self.time_limit:g} s")
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
        """Start the process and wait for its first message; ``None``: it died, or is silent for too long."""
        self.connection, theirs = Pipe()
        # -P: the program's folder holds a reasoning_gym.py, which must not hide the package of that name.
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
            # In short waits, for the end of a process may go unheard while a copy of its end of the pipe is open.
            while not self.connection.poll(0.05):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    return None
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def stop(self) -> None:
        """Kill the process, if there is one, and wait for its end."""
        if self.connection is not None:
            self.connection.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.connection = self.process = None


def _environment() -> dict[str, str]:
    """A worker's environment: nothing of the user's, whose secrets often stand there, but what Python starts with."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    ours = Path(score_worker.__file__).parents[2]
    path = [
        str(ours),
        *(os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry),
    ]
    # One thread for numerical libraries: on a large machine their stacks and buffers alone would fill the limit.
    return kept | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()[-2000:] or f"nothing heard for {START_LIMIT:g} s"


def _stop_all(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.stop()
