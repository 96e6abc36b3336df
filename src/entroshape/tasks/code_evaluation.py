"""Which scorers of reasoning-gym evaluate final answers as Python, and when they may run."""

from __future__ import annotations

import os
import re
from importlib.metadata import version

from entroshape.tasks.enforcement import sandbox_report

EVALUATING = frozenset(
    {
        "binary_matrix",
        "composite",  # passes answers to the scorers of other data sets
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    }
)
"""Data sets whose ``score_answer`` calls ``eval`` or ``sympy.parse_expr`` on the answer, in :data:`CHECKED_VERSION`."""

CHECKED_VERSION = "0.1.25"
"""The version of reasoning-gym in which all scorers were tested with code as answers. In other versions, all scorers
are assumed to evaluate code."""

ALLOW = "ENTROSHAPE_ALLOW_CODE_EVAL"
"""Environment variable that allows evaluation even if the sandbox is incomplete, when set to ``1``."""

_HARMLESS = re.compile(
    r"""
    (?: [\d\s+*/^%(),\[\]-]                     # arithmetic and lists of numbers,
      | \.(?![^\W\d])                           # with no attribute,
      | (?<!\w)[a-zC](?!\w)                     # variables of one letter: no library and no builtin has such names
      | (?<!\w)(?:sin|cos|tan|exp|log|ln|sqrt|abs|Abs|asin|acos|atan|sinh|cosh|tanh)(?!\w)
    )*
    | (?: [\s,\[\]] | (?<!\w)\w(?!\w) | '\w' | "\w" )*   # boards and lists of single characters: nothing is called
    | [A-Z0-9]+                                  # one word
    """,
    flags=re.ASCII | re.VERBOSE,
)


def evaluates(name: str) -> bool:
    """Whether the scorer of the data set ``name`` evaluates answers as code, or may do so."""
    return name in EVALUATING or version("reasoning-gym") != CHECKED_VERSION


def needs_process(answer: str) -> bool:
    """Whether an answer could have lasting effects when it is evaluated, so that it needs its own process.

    Most honest answers cannot: arithmetic, polynomials, boards. Forking a process for each of them would take longer
    than most scorers do.

    Example:
        >>> [needs_process(text) for text in ("(3 + 4) * 6", "2*x**3 + sin(x)", "[['Q', '_'], ['_', 'Q']]", "exit()")]
        [False, False, False, True]
    """
    return _HARMLESS.fullmatch(answer) is None


def check_may_evaluate(name: str) -> None:
    """Refuses a data set whose scorer evaluates answers, unless the sandbox is complete or :data:`ALLOW` is set.

    Raises:
        ValueError: the message says what the sandbox lacks on this machine, and what to do.
    """
    if not evaluates(name) or _allowed():
        return
    report = sandbox_report()
    if report.complete:
        return
    why = (
        "evaluates answers as Python"
        if name in EVALUATING
        else f"comes from reasoning-gym {version('reasoning-gym')}, which has not been checked for evaluating answers"
    )
    lacking = "; ".join(rule.forbidden for rule in report.broken)
    raise ValueError(
        f"the scorer of reasoning_gym:{name} {why}, and this machine cannot fully sandbox it (a completion could "
        f"{lacking}). Install libseccomp on Linux 5.13 or newer (Debian, Ubuntu: apt install libseccomp2 bubblewrap; "
        f"`python -m entroshape.sandbox` shows what is missing), or set {ALLOW}=1 to evaluate completions with your "
        "own permissions"
    )


def _allowed() -> bool:
    value = os.environ.get(ALLOW, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{ALLOW} must be 1 or 0; got {value!r}")
    return value == "1"
