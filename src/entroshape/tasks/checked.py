"""Reward functions with what they raise and return checked at every call."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

RewardFunction = Callable[..., list[float]]
"""``reward(prompts, completions, **columns) -> list[float]``, one finite number per completion, as in TRL."""


def checked_reward(function: Callable[..., Any], name: str) -> RewardFunction:
    """``function`` with its errors named: what it raises, a wrong count, something that is not a finite number.

    A function without ``**columns`` gets those columns alone that it names. One that is checked already stays as it is,
    under the name that it has, so that no message names it twice.

    Args:
        function: ``f(prompts, completions, **columns)``; returns a list, an array or a tensor, one number a completion.
        name: what messages call it.

    Raises:
        RuntimeError: at a call, from whatever ``function`` raised.
        ValueError: at a call, if it returned anything but one finite number a completion.

    Example:
        >>> checked_reward(lambda prompts, completions: [1, 2], "my:reward")([""], [""], answer=[""])
        Traceback (most recent call last):
        ...
        ValueError: reward function 'my:reward' must return one number a completion: expected 1, got 2
    """
    # The mark is the function itself: a wrapper that copies attributes is not checked.
    if getattr(function, "names_itself", None) is function:
        return function
    parameters = inspect.signature(function).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        wanted = columns if takes_all else {key: columns[key] for key in columns if key in parameters}
        # Copies: what the function does to its arguments is its own affair.
        given = {key: _copied(value) for key, value in wanted.items()}
        with named_failures(name):
            values = function(prompts=_copied(prompts), completions=_copied(completions), **given)
        return checked_values(values, len(completions), name)

    reward.__name__ = getattr(function, "__name__", name.rpartition(":")[2])
    reward.__doc__ = function.__doc__
    reward.names_itself = reward  # type: ignore[attr-defined]
    return reward


@contextmanager
def named_failures(name: str) -> Iterator[None]:
    """What the reward function ``name`` raises in here becomes a ``RuntimeError`` that names it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"reward function {name!r} raised {type(error).__name__}: {error}") from error


def _copied(value: Any) -> Any:
    """Lists and mappings anew, down to what they hold."""
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return {key: _copied(each) for key, each in value.items()} if type(value) is dict else value


def checked_values(values: Any, count: int, name: str) -> list[float]:
    """What the reward function ``name`` returned for ``count`` completions, as floats.

    Raises:
        ValueError: it is not one finite number per completion.
    """
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise ValueError(f"reward function {name!r} must return a list of numbers, got {type(values).__name__}")
    if len(values) != count:
        raise ValueError(
            f"reward function {name!r} must return one number a completion: expected {count}, got {len(values)}"
        )
    return [_check_value(value, place, name) for place, value in enumerate(values)]


def _check_value(value: Any, place: int, name: str) -> float:
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"reward function {name!r} must return finite numbers; got {value!r} for completion {place}")
    return float(value)
