"""Checks of option values. Every message names the option, what was expected and what was given. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``.

    Example:
        >>> check_choice("axis", "column", ("column", "row"))
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {value!r}")


def check_integer(name: str, value: object, *, minimum: int = 0, maximum: int | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` is an int within the bounds, which are inclusive.

    ``True`` and 2.0 are refused, because they are most likely meant for another option.

    Example:
        >>> check_integer("steps", True, minimum=1)
        Traceback (most recent call last):
        ValueError: steps must be a whole number of at least 1; got True
    """
    inside = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
    if not inside or (maximum is not None and value > maximum):  # type: ignore[operator]
        bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{name} must be a whole number {bounds}; got {value!r}")


def check_number(
    name: str, value: object, *, minimum: float = -math.inf, maximum: float = math.inf, exclusive: bool = False
) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number within the bounds.

    The bounds are inclusive unless ``exclusive``.

    Example:
        >>> check_number("temperature", 0, minimum=0.0, exclusive=True)
        Traceback (most recent call last):
        ValueError: temperature must be a finite number in (0, inf); got 0
    """
    # An int is not converted to float for the comparison: one of 400 digits would overflow.
    number = isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf
    inside = number and (minimum < value < maximum if exclusive else minimum <= value <= maximum)  # type: ignore[operator]
    if not inside:
        left, right = ("(", ")") if exclusive else ("[", "]")
        bounds = f" in {left}{minimum:g}, {maximum:g}{right}" if (minimum, maximum) != (-math.inf, math.inf) else ""
        raise ValueError(f"{name} must be a finite number{bounds}; got {value!r}")


def check_distinct(
    name: str, values: object, *, minimum: float = -math.inf, maximum: float = math.inf, exclusive: bool = False
) -> None:
    """Raise ``ValueError`` unless ``values`` is a list of different finite numbers within the bounds.

    Example:
        >>> check_distinct("eval_temperatures", [0.2, 0.2], minimum=0.0)
        Traceback (most recent call last):
        ValueError: eval_temperatures must be different numbers; got 0.2 more than once
    """
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list of numbers; got {values!r}")
    for place, value in enumerate(values):
        check_number(f"{name}[{place}]", value, minimum=minimum, maximum=maximum, exclusive=exclusive)
        if value in values[:place]:
            raise ValueError(f"{name} must be different numbers; got {value!r} more than once")


@contextmanager
def begun() -> Iterator[None]:
    """Marks work that has begun: a ``ValueError`` inside is a runtime failure and not a refused option.

    Raises:
        RuntimeError: instead of the ``ValueError``, with the same message.
    """
    try:
        yield
    except ValueError as error:
        raise RuntimeError(str(error)) from error
