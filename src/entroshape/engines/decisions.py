"""What every engine decides in the same way: metric names, and whose setting wins."""

from __future__ import annotations

from typing import Any

from entroshape.methods import Method

PREFIX = "entroshape/"
"""Prefix of the names under which our metrics are logged."""


def decided_by_method(setting: str, method: Method, decided: Any, given: Any, advice: str) -> ValueError:
    """The error for a setting of the host that contradicts the method.

    Args:
        setting: its name, as the user wrote it.
        method: the method.
        decided: the method's value.
        given: the user's value.
        advice: what to do instead; a sentence.
    """
    return ValueError(
        f"{setting} is decided by the method: {type(method).__name__} has {decided!r}, got {given!r}. {advice}"
    )


def host_aggregation(method: Method, names: dict[str, str], host: str) -> str:
    """The host's name for how the method's loss adds up.

    Raises:
        ValueError: an aggregation that the host has no name for.
    """
    aggregation = method.surrogate.aggregation
    if aggregation not in names:
        raise ValueError(
            f"aggregation={aggregation!r} of method {type(method).__name__} is not supported in {host}; expected one "
            f"of {', '.join(map(repr, names))}"
        )
    return names[aggregation]
