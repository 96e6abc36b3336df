"""Wraps reward functions for engines: they get copies of their arguments, and errors name function and step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from torch import Tensor, nn

from entroshape.errors import RewardError


def guarded_reward(function: Any, name: str) -> Any:
    """Wraps a reward function so that it gets copies of its arguments and its errors become :class:`RewardError`.

    Changes that the function makes to its arguments do not affect the run or other reward functions. A reward model is
    returned unchanged. A :class:`RewardError` already names its function and passes unchanged.
    """
    if isinstance(function, nn.Module):
        return function
    if not _is_async(function):

        @wraps(function)
        def score(*args: Any, **kwargs: Any) -> Any:
            with _named(name):
                return function(*copied(args), **copied(kwargs))

        return score

    @wraps(function)
    async def score_later(*args: Any, **kwargs: Any) -> Any:
        with _named(name):
            return await function(*copied(args), **copied(kwargs))

    return score_later


def copied(value: Any) -> Any:
    """Deep copies of lists, tuples and dictionaries; other values (text, numbers, images) are shared.

    Example:
        >>> messages = [{"role": "user", "content": "2 + 2"}]
        >>> copied(messages)[0].clear(); messages
        [{'role': 'user', 'content': '2 + 2'}]
    """
    if type(value) is dict:
        return {key: copied(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(copied, value))
    return value


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(f"the reward function {name} raised {type(error).__name__}: {error}") from error


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)


@contextmanager
def naming_step(step: int, names: Sequence[str], checkpoints: str) -> Iterator[None]:
    """Adds the step to errors that are raised during scoring."""
    try:
        yield
    except Exception as error:
        what = error if isinstance(error, RewardError) else f"{', '.join(names)}: {type(error).__name__}: {error}"
        raise RuntimeError(
            f"scoring failed at step {step}: {what}. You can resume from the checkpoints in {checkpoints}."
        ) from error


def check_finite(rewards: Tensor, names: Sequence[str], step: int) -> None:
    """Raises ``ValueError`` if a reward ``[B, F]`` is infinite. NaN means that a completion has no reward."""
    infinite = rewards.isinf().any(dim=0).tolist()
    if any(infinite):
        guilty = ", ".join(name for name, bad in zip(names, infinite, strict=True) if bad)
        raise ValueError(f"rewards must be finite, got an infinite one at step {step} from {guilty}")
