"""Reward functions as engines call them: on copies of their arguments, with failures that name function and step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from torch import Tensor, nn

from entroshape.errors import RewardError


def guarded_reward(function: Any, name: str) -> Any:
    """The reward function, on copies of its arguments, raising :class:`RewardError` in place of whatever it raises.

    What it does to its arguments changes nothing for the run or for other reward functions. A reward model is returned
    as it is. A :class:`RewardError` of the function itself names it already, and passes unchanged.
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
    """Lists, tuples and dictionaries anew, all the way down; what they hold (text, numbers, images) is shared.

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
    """Scoring, whose errors say at which step it failed."""
    try:
        yield
    except Exception as error:
        what = error if isinstance(error, RewardError) else f"{', '.join(names)}: {type(error).__name__}: {error}"
        raise RuntimeError(
            f"scoring failed at step {step}: {what}. Checkpoints saved so far in {checkpoints} are good to resume from."
        ) from error


def check_finite(rewards: Tensor, names: Sequence[str], step: int) -> None:
    """Raise ``ValueError`` if a reward ``[B, F]`` is infinite; NaN means that the function could not tell."""
    infinite = rewards.isinf().any(dim=0).tolist()
    if any(infinite):
        guilty = ", ".join(name for name, bad in zip(names, infinite, strict=True) if bad)
        raise ValueError(f"rewards must be finite, got an infinite one at step {step} from {guilty}")
