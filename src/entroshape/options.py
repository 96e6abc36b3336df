"""Declares what an option affects at the option itself, so that no list of option names has to be kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any, Literal, get_args

Effect = Literal["run", "start", "result", "further", "resources", "presentation"]
"""``run``: which run of a comparison this is. ``start``: the metrics before training, and so everything after them.
``result``: the metrics after training; in an evaluation, the completions and verdicts. ``further``: which evaluations
are made in addition; all others stay as they are, so more can be added to a finished run. ``resources``: where, how
fast and how safely the same is computed. ``presentation``: where results are written and how they are shown.

An option may have several effects: the device is a resource, and its arithmetic changes the last digits of the start
metrics."""

_KEY = "affects"


def option(*effects: Effect, default: Any = MISSING, default_factory: Callable[[], Any] | None = None) -> Any:
    """A dataclass field that declares what it affects.

    Raises:
        ValueError: there is no effect, or an unknown one.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Options:
        ...     steps: int = option("result", default=100)
        ...     threads: int = option("start", "resources", default=1)
        >>> Options().steps, affecting(Options, "start", "presentation"), compared(Options)
        (100, ['threads'], ['steps'])
    """
    if not effects or not set(effects) <= set(get_args(Effect)):
        raise ValueError(f"effects must be among {', '.join(get_args(Effect))}; got {effects!r}")
    metadata = {_KEY: frozenset(effects)}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def affecting(options: Any, *effects: Effect) -> list[str]:
    """Names of the options that have at least one of the effects.

    Args:
        options: a dataclass or an instance of it.
        effects: the effects to look for.

    Raises:
        TypeError: a field does not declare what it affects.
    """
    return [name for name, own in _effects(options).items() if own & set(effects)]


def compared(options: Any) -> list[str]:
    """Names of the options that every metric depends on. Results can be compared only if these options are the same.

    Raises:
        TypeError: see :func:`affecting`.
    """
    return [name for name, own in _effects(options).items() if not own & {"further", "resources", "presentation"}]


def _effects(options: Any) -> dict[str, frozenset[str]]:
    silent = [each.name for each in fields(options) if _KEY not in each.metadata]
    if silent:
        raise TypeError(f"{silent[0]} does not declare what it affects: define it with entroshape.options.option")
    return {each.name: each.metadata[_KEY] for each in fields(options)}
