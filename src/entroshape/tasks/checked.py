"""Wraps reward functions so that their errors and results are checked at every call."""

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
    """Wraps a reward function so that its errors and invalid results raise errors that name it.

    A function without ``**columns`` gets only the columns in its signature. A function that is already checked is
    returned unchanged, so that messages do not name it twice.

    Args:
        function: ``f(prompts, completions, **columns)``; returns a list, an array or a tensor, one number per
            completion.
        name: the name in messages.

    Raises:
        RuntimeError: at a call, if ``function`` raises.
        ValueError: at a call, if it does not return one finite number per completion.

    Example:
        >>> checked_reward(lambda prompts, completions: [1, 2], "my:reward")([""], [""], answer=[""])
        Traceback (most recent call last):
        ...
        ValueError: reward function 'my:reward' must return one number per completion: expected 1, got 2
    """
    # The mark is the function itself, because wrappers copy attributes but are not checked.
    if getattr(function, "names_itself", None) is function:
        return function
    parameters = inspect.signature(function).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        wanted = columns if takes_all else {key: columns[key] for key in columns if key in parameters}
        # Copies, so that the function may change its arguments.
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
    """Turns errors of the reward function ``name`` into a ``RuntimeError`` that names it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"reward function {name!r} raised {type(error).__name__}: {error}") from error


def _copied(value: Any) -> Any:
    """Deep copies of lists and mappings; other values unchanged."""
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return {key: _copied(each) for key, each in value.items()} if type(value) is dict else value


def checked_values(values: Any, count: int, name: str) -> list[float]:
    """Converts the result of the reward function ``name`` for ``count`` completions to floats.

    Raises:
        ValueError: the result is not one finite number per completion.
    """
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise ValueError(f"reward function {name!r} must return a list of numbers, got {type(values).__name__}")
    if len(values) != count:
        raise ValueError(
            f"reward function {name!r} must return one number per completion: expected {count}, got {len(values)}"
        )
    return [_check_value(value, place, name) for place, value in enumerate(values)]


def _check_value(value: Any, place: int, name: str) -> float:
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"reward function {name!r} must return finite numbers; got {value!r} for completion {place}")
    return float(value)
