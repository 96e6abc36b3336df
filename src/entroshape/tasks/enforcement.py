"""What the sandbox of scoring processes enforces on this machine, found by trying every forbidden action inside it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from entroshape.sandbox.bubblewrap import visible
from entroshape.tasks.workers import KEPT_VARIABLES, ScoringPool

MEMORY = 256 << 20
"""Memory limit in bytes of the scoring process that makes the attempts."""


class Rule(NamedTuple):
    """Something that no completion may do."""

    forbidden: str
    attempts: tuple[tuple[str, Any], ...]
    """Names in :data:`entroshape.sandbox.attempts.ATTEMPTS`, with their targets."""
    by: tuple[str, ...]
    """Mechanisms that prevent it, each by itself, if the machine has them."""


@dataclass(frozen=True, kw_only=True)
class Enforced:
    """A rule, and whether it holds on this machine."""

    forbidden: str
    """What no completion may do, such as ``"open a socket"``."""

    by: tuple[str, ...]
    """Mechanisms that prevent it on this machine. "Process attributes" are dropped capabilities, hidden process files
    and the death signal, which every Linux has."""

    possible: tuple[str, ...]
    """Attempts that succeeded; empty: the rule holds."""


@dataclass(frozen=True, kw_only=True)
class SandboxReport:
    """What the sandbox enforces on this machine."""

    mechanisms: tuple[str, ...]
    """Mechanisms of the kernel and of installed programs, in addition to resource limits."""

    rules: tuple[Enforced, ...]

    @property
    def complete(self) -> bool:
        """Whether all rules hold, so that text may be evaluated as code."""
        return not self.broken

    @property
    def broken(self) -> tuple[Enforced, ...]:
        """The rules that do not hold."""
        return tuple(rule for rule in self.rules if rule.possible)

    def __str__(self) -> str:
        mechanisms = ", ".join(self.mechanisms) or "none"
        lines = [f"mechanisms: {mechanisms}", "prevented for every completion that is scored:"]
        for rule in self.rules:
            found = f"NOT PREVENTED ({', '.join(rule.possible)})" if rule.possible else f"by {', '.join(rule.by)}"
            lines.append(f"  {rule.forbidden}: {found}")
        lines.append("  exceed its time limit: by its supervisor, which kills it")
        return "\n".join(lines)


def _rules(private: str, folder: str) -> Iterator[Rule]:
    """The rules, with the targets of their attempts: a private file, and a folder that everybody may write to."""
    filter_and_limits = ("seccomp", "resource limits")
    files = ("Landlock", "bubblewrap")
    secret = next((name for name in os.environ if name not in KEPT_VARIABLES and not name.startswith("PYTHON")), "HOME")
    yield Rule(
        "start a process or a program",
        tuple((name, None) for name in ("fork", "program", "replace_program")),
        ("seccomp",),
    )
    yield Rule(
        "send a signal to a process, or trace one",
        (
            ("signal_process", os.getpid()),
            ("signal_group", os.getpgrp()),
            *((name, None) for name in ("signal_parent", "stop_self", "trace_parent")),
        ),
        ("seccomp",),
    )
    yield Rule(
        "open a socket", tuple((name, None) for name in ("internet_socket", "unix_socket", "socket_pair")), ("seccomp",)
    )
    yield Rule(
        "write a file, or leave shared memory behind",
        (
            ("write_file", folder),
            ("write_file", "/dev/shm"),
            ("append_to_file", private),
            ("make_folder", folder),
            *((name, None) for name in ("file_in_memory", "shared_memory", "message_queue")),
        ),
        ("seccomp", *files),
    )
    yield Rule(
        "read the home directory or other private files", (("list_folder", _home()), ("read_file", private)), files
    )
    yield Rule(
        "read the environment or the open files of its parents",
        (
            ("environment_variable", secret),
            ("process_files", os.getpid()),
            ("parents_process_files", None),
            ("parents_open_files", None),
        ),
        (*files, "process attributes"),
    )
    yield Rule("exceed its memory limit", (("take_memory", 2 * MEMORY), ("lift_limits", None)), filter_and_limits)
    yield Rule("outlive its supervisor", (("survive_parent", None),), ("seccomp", "process attributes"))


def _home() -> tuple[str, list[str]]:
    """The home directory, and the names in it, except for the path to a Python that is installed there."""
    home = Path(os.path.expanduser("~")).resolve()
    python = {Path(path).relative_to(home).parts[0] for path in visible() if Path(path).is_relative_to(home)}
    return str(home), sorted(set(os.listdir(home)) - python) if home.is_dir() else []


@lru_cache(maxsize=1)
def sandbox_report() -> SandboxReport:
    """Tries every forbidden action in a scoring process. The result is cached; the first call takes a second.

    Raises:
        RuntimeError: no scoring process can be started.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as private:
        os.chmod(folder, 0o777)
        rules = tuple(_rules(private.name, folder))
        pool = ScoringPool("attempts", workers=1, time_limit=10.0, memory_limit=MEMORY)
        try:
            jobs = [
                {"attempt": name, "target": target, "alone": True} for rule in rules for name, target in rule.attempts
            ]
            judgements = iter(pool.judge(jobs, warn=False))
            mechanisms = pool.mechanisms
        finally:
            pool.close()
    # A process that died during an attempt may have succeeded.
    possible = [
        tuple(name for (name, _), found in zip(rule.attempts, judgements, strict=False) if found.failure or found.score)
        for rule in rules
    ]
    return SandboxReport(
        mechanisms=mechanisms,
        rules=tuple(
            Enforced(forbidden=rule.forbidden, by=_present(rule.by, mechanisms), possible=found)
            for rule, found in zip(rules, possible, strict=True)
        ),
    )


def _present(by: tuple[str, ...], mechanisms: tuple[str, ...]) -> tuple[str, ...]:
    named = (*mechanisms, "resource limits", "process attributes")
    return tuple(full for full in named if full.startswith(by))
