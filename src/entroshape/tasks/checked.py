"""Wraps reward functions so that their errors and results are checked at every call."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any

from entroshape.errors import RewardError, RewardValueError

RewardFunction = Callable[..., list[float]]
"""``reward(prompts, completions, **columns) -> list[float]``, one finite number per completion, as in TRL."""


@dataclass(frozen=True)
class CheckedReward:
    """A reward function whose errors and invalid results raise errors that name it; :func:`checked_reward` makes it."""

    function: Callable[..., Any]
    """``f(prompts, completions, **columns)``, as the user wrote it."""

    name: str
    """The name in messages."""

    def __post_init__(self) -> None:
        # Trainers log rewards under the function's own name.
        object.__setattr__(self, "__name__", getattr(self.function, "__name__", self.name.rpartition(":")[2]))
        object.__setattr__(self, "__doc__", self.function.__doc__)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """The rewards, one per completion, as plain floats."""
        parameters = inspect.signature(self.function).parameters
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            columns = {key: columns[key] for key in columns if key in parameters}
        # Copies, so that the function may change its arguments.
        given = {key: _copied(value) for key, value in columns.items()}
        with named_failures(self.name):
            values = self.function(prompts=_copied(prompts), completions=_copied(completions), **given)
        return checked_values(values, len(completions), self.name)


def checked_reward(function: Callable[..., Any], name: str) -> RewardFunction:
    """Wraps a reward function so that its errors and invalid results raise errors that name it.

    A function without ``**columns`` gets only the columns in its signature. A function that is already checked is
    returned unchanged, so that messages do not name it twice.

    Args:
        function: ``f(prompts, completions, **columns)``; returns a list, an array or a tensor, one number per
            completion.
        name: the name in messages.

    Raises:
        RewardError: at a call, if ``function`` raises.
        RewardValueError: at a call, if it does not return one finite number per completion.

    Example:
        >>> checked_reward(lambda prompts, completions: [1, 2], "my:f")([""], [""], answer=[""])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        entroshape.errors.RewardValueError: reward function 'my:f' must return one number per completion: expected ...
    """
    if isinstance(function, CheckedReward):
        return function
    inspect.signature(function)  # refuses at once what has no signature
    return CheckedReward(function, name)


@contextmanager
def named_failures(name: str) -> Iterator[None]:
    """Turns errors of the reward function ``name`` into a :class:`RewardError` that names it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise RewardError(f"reward function {name!r} raised {type(error).__name__}: {error}") from error


def _copied(value: Any) -> Any:
    """Deep copies of lists and mappings; other values unchanged."""
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return {key: _copied(each) for key, each in value.items()} if type(value) is dict else value


def checked_values(values: Any, count: int, name: str) -> list[float]:
    """Converts the result of the reward function ``name`` for ``count`` completions to floats.

    Raises:
        RewardValueError: the result is not one finite number per completion.
    """
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, list | tuple):
        raise RewardValueError(f"reward function {name!r} must return a list of numbers, got {type(values).__name__}")
    if len(values) != count:
        raise RewardValueError(
            f"reward function {name!r} must return one number per completion: expected {count}, got {len(values)}"
        )
    return [_check_value(value, place, name) for place, value in enumerate(values)]


def _check_value(value: Any, place: int, name: str) -> float:
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, Real) or not math.isfinite(value):
        raise RewardValueError(
            f"reward function {name!r} must return finite numbers; got {value!r} for completion {place}"
        )
    return float(value)
