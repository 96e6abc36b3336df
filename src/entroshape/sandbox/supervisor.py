"""The supervisor of a scoring process: loads the scorer's library, forks judging children and forwards their replies.

It never evaluates a model's text itself. Its caller is :mod:`entroshape.tasks.workers`, at the other end of the
connection.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from entroshape.sandbox.child import Child, DiedError, HungUpError, LateError, Limits, Score
from entroshape.sandbox.confinement import (
    drop_capabilities,
    hide_from_children,
    readable_paths,
    restrict_reading,
    system_call_filter,
)

ATTEMPTS = 2
"""Attempts at a job whose process dies. The first process may have been killed from outside."""


def _nothing(job: dict[str, Any]) -> None:
    pass


class Scorer(NamedTuple):
    """Judges jobs of one kind."""

    score: Score
    prepare: Callable[[dict[str, Any]], None] = _nothing
    """Called in the supervisor before a job goes to a child, for work that does not depend on a model's text."""


class Supervisor:
    """Judges jobs in child processes: one child for all jobs, but a separate one for each job with ``"alone": True``.

    Args:
        scorer: the scorer that the children use.
        limits: limits of a child.
        connection: connection to the caller.
    """

    def __init__(self, scorer: Scorer, limits: Limits, connection: Connection) -> None:
        self._scorer, self._limits, self._connection = scorer, limits, connection
        self._shared: Child | None = None
        # Opened now, because the sandbox makes /proc unreadable.
        self._sizes = open("/proc/self/statm") if sys.platform == "linux" else None  # noqa: SIM115
        self._filter = system_call_filter()
        landlock = restrict_reading(readable_paths())
        hide_from_children()
        self.mechanisms = [name for name in (landlock, "seccomp" if self._filter else None) if name]
        """Mechanisms that confine the children, in addition to resource limits."""

    def serve(self) -> None:
        """Handles jobs until the caller hangs up."""
        # Memory is shared with the children; a garbage collection in a child would touch, and so copy, all of it.
        gc.collect()
        gc.freeze()
        self._send({"mechanisms": self.mechanisms})
        with suppress(EOFError, HungUpError, BrokenPipeError):
            while True:
                job = json.loads(self._connection.recv_bytes())
                self._send(self._judged(job))
        if self._shared is not None:
            self._shared.kill()

    def _send(self, reply: dict[str, Any]) -> None:
        self._connection.send_bytes(json.dumps(reply).encode())

    def _judged(self, job: dict[str, Any]) -> dict[str, Any]:
        alone = job.pop("alone", False)
        try:
            self._scorer.prepare(job)
        except Exception as error:  # noqa: BLE001 - a third-party library at a data set's options
            return {"error": type(error).__name__}
        for _ in range(ATTEMPTS):
            child = self._child(alone)
            keep = False
            try:
                reply = child.ask(job)
                keep = not alone and not reply.pop("large", False)
                return reply
            except LateError:
                return {"error": f"exceeded {self._limits.seconds:g} s"}
            except DiedError:
                continue
            finally:
                if not keep:
                    child.kill()
                    self._shared = self._shared if alone else None
        return {"error": "the scoring process died"}

    def _child(self, alone: bool) -> Child:
        if self._shared is not None and not alone:
            return self._shared
        child = Child(
            self._scorer.score, self._limits, self._lock, caller=self._connection.fileno(), mapped=self._mapped()
        )
        if not alone:
            self._shared = child
        return child

    def _mapped(self) -> int | None:
        """Bytes of address space in use now."""
        if self._sizes is None:
            return None
        self._sizes.seek(0)
        return int(self._sizes.read().split()[0]) * resource.getpagesize()

    def _lock(self) -> None:
        drop_capabilities()
        if self._filter is not None:
            self._filter.load()
