"""The program of a scoring process: answers one job after another until its parent hangs up.

Run as a file, not as a module of the package, so that a worker holds the scorer's library and no torch. The parent's
side is :mod:`entroshape.tasks.workers`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Scorer = Callable[[dict[str, Any]], tuple[float, str | None]]
"""The score of a job, and the answer that was judged as equal answers are written alike; ``None``: there is none."""

SYMPY_ERRORS = (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError)
"""What SymPy raises at expressions that it cannot evaluate."""


def math_scorer() -> Scorer:
    """Jobs ``{"gold": str, "text": str}``: 1 if the answer in ``text`` equals ``gold`` by math-verify, else 0.

    With ``"answer": True`` the answer is named too: a right one as ``gold``, however the text writes it, a wrong one in
    its :func:`normal_form`.
    """
    lib = importlib.import_module("math_verify")
    targets = [lib.LatexExtractionConfig(boxed_match_priority=0), lib.ExprExtractionConfig()]

    def parse(text: str) -> list[Any]:
        # No alarm of math-verify's own: it cannot interrupt SymPy inside a long C call. The parent's limit can.
        return lib.parse(text, targets, parsing_timeout=None)

    @lru_cache(maxsize=1024)
    def parse_gold(gold: str) -> list[Any]:
        return parse(f"\\boxed{{{gold}}}")

    def score(job: dict[str, Any]) -> tuple[float, str | None]:
        found = parse(job["text"])
        if lib.verify(parse_gold(job["gold"]), found, timeout_seconds=None):
            return 1.0, job["gold"]
        return 0.0, normal_form(found) if job.get("answer") else None

    # The first parse builds grammars and regular expressions for a second: not in the first answer's time.
    if score({"gold": "\\frac{1}{2}", "text": "\\boxed{0.5}"})[0] != 1:
        raise RuntimeError("math-verify does not find 1/2 equal to 0.5")
    return score


def normal_form(found: list[Any]) -> str | None:
    """One text for the ways of writing an answer, so far as plain evaluation goes; ``None``: nothing was found.

    Args:
        found: what math-verify parsed, an expression and its text, or a text alone.
    """
    if not found:
        return None
    value, text = found[0], " ".join(str(found[-1]).split()) or None
    if isinstance(value, str):
        return text
    sympy = importlib.import_module("sympy")
    try:
        if isinstance(value, sympy.Equality) and isinstance(value.lhs, sympy.Symbol):
            value = value.rhs
        exact = value.xreplace({number: sympy.Rational(str(number)) for number in value.atoms(sympy.Float)})
        return str(exact.doit())
    except SYMPY_ERRORS:
        return text


def reasoning_gym_scorer() -> Scorer:
    """Jobs ``{"dataset": str, "options": dict, "answer": str, "entry": dict}``: the data set's ``score_answer``."""
    lib = importlib.import_module("reasoning_gym")

    @lru_cache(maxsize=8)
    def dataset(name: str, options: str) -> Any:
        return lib.create_dataset(name, seed=0, size=1, **json.loads(options))

    def score(job: dict[str, Any]) -> tuple[float, str | None]:
        scorer = dataset(job["dataset"], json.dumps(job["options"]))
        return float(scorer.score_answer(job["answer"], decode(job["entry"]))), job["answer"]

    return score


SCORERS: dict[str, Callable[[], Scorer]] = {"math": math_scorer, "reasoning_gym": reasoning_gym_scorer}


def encode(value: Any) -> Any:
    """``value`` as JSON can hold it, with tuples and keys that are no strings marked; :func:`decode` undoes it.

    Raises:
        TypeError: something in ``value`` that JSON has no word for.

    Example:
        >>> decode(encode({"board": ((1, 2), [3])})) == {"board": ((1, 2), [3])}
        True
    """
    if isinstance(value, tuple):
        return {"__tuple__": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("__") for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {"__items__": [[encode(key), encode(item)] for key, item in value.items()]}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def decode(value: Any) -> Any:
    """What :func:`encode` was given."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if "__tuple__" in value:
            return tuple(decode(item) for item in value["__tuple__"])
        if "__items__" in value:
            return {decode(key): decode(item) for key, item in value["__items__"]}
        return {key: decode(item) for key, item in value.items()}
    return value


def _memory(field: str) -> int:
    """Bytes of ``VmSize`` (mapped now) or ``VmHWM`` (resident at the peak), as Linux keeps them for this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def serve(connection: Connection, score: Scorer, *, time_limit: float, memory_limit: int) -> None:
    """Answer jobs until the parent hangs up; tell it when a job has left this process too large to go on with."""
    limited = sys.platform == "linux"
    if limited:
        most = _memory("VmSize") + memory_limit
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        retire_at = _memory("VmHWM") + memory_limit // 2
    connection.send_bytes(b"ready")
    while True:
        try:
            job = json.loads(connection.recv_bytes())
        except EOFError:
            return
        # The parent ends a job that takes too long. If the parent itself is gone, the kernel does, a second later.
        signal.setitimer(signal.ITIMER_REAL, time_limit + 1)
        reply: dict[str, Any] = {}
        try:
            reply["score"], reply["answer"] = score(job)
        except Exception as error:  # noqa: BLE001 - a third-party scorer on a model's text can raise anything
            reply["error"] = type(error).__name__
        signal.setitimer(signal.ITIMER_REAL, 0)
        # SymPy caches what it has computed: near the limit, every later answer would fail for want of memory.
        reply["retiring"] = limited and _memory("VmHWM") > retire_at
        connection.send_bytes(json.dumps(reply).encode())


def main() -> None:
    """Arguments: the connection's file descriptor, the scorer's name, seconds a job, bytes beyond the start."""
    descriptor, kind, time_limit, memory_limit = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    connection = Connection(int(descriptor))
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)
    serve(connection, SCORERS[kind](), time_limit=float(time_limit), memory_limit=int(memory_limit))


if __name__ == "__main__":
    main()
