"""Checks of option values, worded alike everywhere: the name, what was expected, what came."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def check_number(
    name: str, value: float, *, minimum: float = -math.inf, maximum: float = math.inf, exclusive: bool = False
) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number within the bounds.

    The bounds themselves count, unless ``exclusive``.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    inside = number and (minimum < value < maximum if exclusive else minimum <= value <= maximum)
    if not inside:
        left, right = ("(", ")") if exclusive else ("[", "]")
        bounds = f" in {left}{minimum:g}, {maximum:g}{right}" if (minimum, maximum) != (-math.inf, math.inf) else ""
        raise ValueError(f"{name} must be a finite number{bounds}; got {value!r}")
