"""The program of a scoring process: the scorers, and a supervisor that judges jobs with one of them in a sandbox.

Run as a file, not as a module of :mod:`entroshape.tasks`, so that it holds the scorer's library and no torch. Its
parent's side is :mod:`entroshape.tasks.workers`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

from entroshape.sandbox.attempts import attempt
from entroshape.sandbox.child import Limits
from entroshape.sandbox.supervisor import Scorer, Supervisor

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
    return Scorer(score)


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

    def prepare(job: dict[str, Any]) -> None:
        dataset(job["dataset"], json.dumps(job["options"]))

    return Scorer(score, prepare)


def attempts_scorer() -> Scorer:
    """Jobs ``{"attempt": str, "target": ...}``: 1 if what the sandbox forbids could be done; see :func:`attempt`."""
    return Scorer(lambda job: attempt(job["attempt"], job["target"]))


SCORERS: dict[str, Callable[[], Scorer]] = {
    "math": math_scorer,
    "reasoning_gym": reasoning_gym_scorer,
    "attempts": attempts_scorer,
}


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


def main() -> None:
    """Arguments: the connection's file descriptor, the scorer, seconds per job, bytes beyond the start."""
    descriptor, kind, time_limit, memory_limit = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    connection = Connection(int(descriptor))
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)
    supervisor = Supervisor(SCORERS[kind](), Limits(float(time_limit), int(memory_limit)), connection)
    os.dup2(quiet, 2)  # whatever could not start has said so by now
    supervisor.serve()


if __name__ == "__main__":
    main()
