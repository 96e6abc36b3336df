"""The program of a scoring process: the scorers, and a supervisor that judges jobs with one of them in a sandbox.

It is run as a file and not as a module of :mod:`entroshape.tasks`, so that it loads only the scorer's library and no
torch. The parent's side is :mod:`entroshape.tasks.workers`.
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
"""Errors that SymPy raises for expressions that it cannot evaluate. Such an answer keeps the form that it has in the
text: that it has no normal form says nothing about whether it is right."""


def math_scorer() -> Scorer:
    """Scores jobs ``{"gold": str, "text": str}``: 1 if the final answer in ``text`` equals ``gold`` by math-verify.

    With ``"answer": True`` the final answer is returned too: a correct one as ``gold``, in whatever form the text has
    it, and an incorrect one in its :func:`normal_form`.
    """
    lib = importlib.import_module("math_verify")
    targets = [lib.LatexExtractionConfig(boxed_match_priority=0), lib.ExprExtractionConfig()]

    def parse(text: str) -> list[Any]:
        # Without math-verify's own timeout, which cannot interrupt SymPy inside a long C call. The supervisor's can.
        return lib.parse(text, targets, parsing_timeout=None)

    @lru_cache(maxsize=1024)
    def parse_gold(gold: str) -> list[Any]:
        return parse(f"\\boxed{{{gold}}}")

    def score(job: dict[str, Any]) -> tuple[float, str | None]:
        found = parse(job["text"])
        if lib.verify(parse_gold(job["gold"]), found, timeout_seconds=None):
            return 1.0, job["gold"]
        return 0.0, normal_form(found) if job.get("answer") else None

    # The first parse spends a second on building grammars and regular expressions, which must not count for a job.
    if score({"gold": "\\frac{1}{2}", "text": "\\boxed{0.5}"})[0] != 1:
        raise RuntimeError("the self-test of math-verify failed: 1/2 is not equal to 0.5")
    return Scorer(score)


def normal_form(found: list[Any]) -> str | None:
    """One string for the different forms of a final answer, as far as plain evaluation goes; ``None`` if there is none.

    Args:
        found: what math-verify parsed: an expression and its text, or only a text.
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
    """Scores jobs ``{"dataset": str, "options": dict, "answer": str, "entry": dict}`` by ``score_answer``."""
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
    """Scores jobs ``{"attempt": str, "target": ...}``: 1 if a forbidden attempt succeeds; see :func:`attempt`."""
    return Scorer(lambda job: attempt(job["attempt"], job["target"]))


SCORERS: dict[str, Callable[[], Scorer]] = {
    "math": math_scorer,
    "reasoning_gym": reasoning_gym_scorer,
    "attempts": attempts_scorer,
}


def encode(value: Any) -> Any:
    """Converts ``value`` to plain JSON, with marks for tuples and keys that are not strings; see :func:`decode`.

    Raises:
        TypeError: ``value`` contains something that JSON cannot represent.

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
    """Reverses :func:`encode`."""
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
    """Arguments: file descriptor of the connection, scorer, seconds per job, bytes beyond those at the start."""
    descriptor, kind, time_limit, memory_limit = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    connection = Connection(int(descriptor))
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)
    supervisor = Supervisor(SCORERS[kind](), Limits(float(time_limit), int(memory_limit)), connection)
    os.dup2(quiet, 2)  # errors at the start have been printed by now
    supervisor.serve()


if __name__ == "__main__":
    main()
