"""What an option affects, written at the option itself, so that no list of their names is kept anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any, Literal, get_args

Effect = Literal["run", "start", "result", "resources", "presentation"]
"""``run``: which of the runs that are compared it is. ``start``: figures before training, and so all that follow.
``result``: figures after training; of an evaluation, its completions and verdicts. ``resources``: where, how fast and
how safely the same is computed. ``presentation``: where it is written and how it is shown.

An option may have several: the device is a matter of resources, and its arithmetic shows in the start's last digits."""

_KEY = "affects"


def option(*effects: Effect, default: Any = MISSING, default_factory: Callable[[], Any] | None = None) -> Any:
    """A dataclass field that says what it affects.

    Raises:
        ValueError: no effect, or an unknown one.

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
        raise ValueError(f"effects must be of {', '.join(get_args(Effect))}; got {effects!r}")
    metadata = {_KEY: frozenset(effects)}
    if default_factory is not None:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def affecting(options: Any, *effects: Effect) -> list[str]:
    """Names of the options that have one of the effects at least.

    Args:
        options: a dataclass or an instance of it.
        effects: which.

    Raises:
        TypeError: a field that does not say what it affects.
    """
    return [name for name, own in _effects(options).items() if own & set(effects)]


def compared(options: Any) -> list[str]:
    """Names of the options on which figures depend: two results with other values of them are two different things.

    Raises:
        TypeError: see :func:`affecting`.
    """
    return [name for name, own in _effects(options).items() if not own & {"resources", "presentation"}]


def _effects(options: Any) -> dict[str, frozenset[str]]:
    silent = [each.name for each in fields(options) if _KEY not in each.metadata]
    if silent:
        raise TypeError(f"{silent[0]} must say what it affects: define it with entroshape.options.option")
    return {each.name: each.metadata[_KEY] for each in fields(options)}
