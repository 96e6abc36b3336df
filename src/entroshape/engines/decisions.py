"""Decisions that all engines share: the prefix of metric names, and settings that the method overrides."""

from __future__ import annotations

from typing import Any

from entroshape.methods import Method

PREFIX = "entroshape/"
"""Prefix of our metrics in the logs."""


def decided_by_method(setting: str, method: Method, decided: Any, given: Any, advice: str) -> ValueError:
    """The error for a setting of the host that contradicts the method.

    Args:
        setting: name of the setting, as the user wrote it.
        method: the method.
        decided: the method's value.
        given: the user's value.
        advice: a sentence that says what to do instead.
    """
    return ValueError(
        f"{setting} is set by the method: {type(method).__name__} uses {decided!r}; got {given!r}. {advice}"
    )


def host_aggregation(method: Method, names: dict[str, str], host: str) -> str:
    """The host's name for the aggregation of the method's loss.

    Raises:
        ValueError: the host does not support the aggregation.
    """
    aggregation = method.surrogate.aggregation
    if aggregation not in names:
        raise ValueError(
            f"aggregation={aggregation!r} of method {type(method).__name__} is not supported in {host}; expected one "
            f"of {', '.join(map(repr, names))}"
        )
    return names[aggregation]
