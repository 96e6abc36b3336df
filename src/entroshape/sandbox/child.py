"""The judging process, a fork of the supervisor without permissions, and the supervisor's side of it.

Only the score in the child's reply is trusted. The reply is limited in size, parsed and checked.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from entroshape.sandbox.confinement import end_with_parent, set_resource_limits

Score = Callable[[dict[str, Any]], tuple[float, str | None]]
"""Returns the score of a job and the final answer, in a form in which equal answers are equal strings, or ``None``."""

LONGEST_REPLY = 1 << 20
"""Maximum size of a reply in bytes: the text of a final answer, and a number."""


class Limits(NamedTuple):
    """Limits of a child."""

    seconds: float
    """Time limit of a job."""
    memory: int
    """Bytes that the child may allocate beyond the supervisor's (Linux only). A child that reached half is replaced."""


class HungUpError(Exception):
    """The supervisor's own parent is gone."""


class LateError(Exception):
    """A job took too long."""


class DiedError(Exception):
    """The child died, or wrote an invalid reply."""


class Child:
    """A forked process that judges jobs, one after another.

    Args:
        score: the scoring function.
        limits: limits of time and memory.
        lock: called in the child directly before the first job, to drop permissions.
        caller: file descriptor of the connection to the caller; it is closed in the child.
        mapped: bytes of address space that the supervisor uses. ``None``: unknown, and memory is not limited.
    """

    def __init__(
        self, score: Score, limits: Limits, lock: Callable[[], None], *, caller: int, mapped: int | None
    ) -> None:
        self._limits, self._caller = limits, caller
        jobs, self._jobs = os.pipe()
        self._replies, replies = os.pipe()
        supervisor = os.getpid()
        self._id = os.fork()
        if not self._id:
            _be_child(score, limits, lock, mapped, supervisor, jobs, replies)
        os.close(jobs)
        os.close(replies)

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Judges a job.

        Returns:
            ``score``, ``answer`` and ``large`` (whether the child should be replaced); or ``error``, the name of the
            error that the scorer raised.

        Raises:
            HungUpError: the caller is gone.
            LateError: there was no reply within the time limit.
            DiedError: the child is dead, or has to be killed because its reply is invalid.
        """
        with suppress(BrokenPipeError):
            _write(self._jobs, json.dumps(job).encode() + b"\n")
        return _checked(self._line())

    def _line(self) -> bytes:
        poll, read = select.poll(), b""
        poll.register(self._replies, select.POLLIN)
        poll.register(self._caller, 0)  # a hang-up is always reported
        deadline = time.monotonic() + self._limits.seconds
        while len(read) < LONGEST_REPLY:
            ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if self._caller in ready:
                raise HungUpError
            if not ready:
                raise LateError
            more = os.read(self._replies, 1 << 16)
            if not more:
                raise DiedError
            read += more
            if more.endswith(b"\n"):
                return read
        raise DiedError

    def kill(self) -> None:
        """Kills the child, and processes that it started if the sandbox did not prevent that."""
        for send in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                send(self._id, signal.SIGKILL)
        os.waitpid(self._id, 0)
        os.close(self._jobs)
        os.close(self._replies)


def _checked(line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
        if set(reply) == {"error"}:
            error = str(reply["error"])
            return {"error": error if error.isidentifier() and len(error) < 80 else "an error without a name"}
        score, answer = reply["score"], reply["answer"]
        if isinstance(score, float) and math.isfinite(score) and isinstance(answer, str | None):
            return {"score": score, "answer": answer, "large": bool(reply["large"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DiedError from error
    raise DiedError


def _be_child(
    score: Score,
    limits: Limits,
    lock: Callable[[], None],
    mapped: int | None,
    supervisor: int,
    jobs: int,
    replies: int,
) -> NoReturn:
    """Runs the child until it ends. It never returns to the supervisor's code."""
    try:
        os.setsid()
        end_with_parent(supervisor, limits.seconds + 1)
        _keep_open(0, 1, 2, jobs, replies)
        set_resource_limits(None if mapped is None else mapped + limits.memory)
        retire_at = _peak() + limits.memory // 2
        lock()
        for job in _lines(jobs):
            reply: dict[str, Any] = {}
            try:
                reply["score"], reply["answer"] = score(json.loads(job))
                # SymPy caches its results: near the limit, later jobs would run out of memory.
                reply["large"] = mapped is not None and _peak() > retire_at
            except Exception as error:  # noqa: BLE001 - a third-party scorer on a model's text can raise anything
                reply = {"error": type(error).__name__}
            _write(replies, json.dumps(reply).encode() + b"\n")
    finally:
        os._exit(0)


def _keep_open(*descriptors: int) -> None:
    kept = sorted(descriptors)
    for last, following in zip(kept, [*kept[1:], 1 << 16], strict=True):
        os.closerange(last + 1, following)


def _lines(descriptor: int) -> Iterator[bytes]:
    with open(descriptor, "rb", closefd=False) as file:
        yield from file


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _peak() -> int:
    """Peak resident memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)
