"""Reward functions that say which of them failed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from torch import nn


class RewardError(RuntimeError):
    """A reward function raised; the message names it."""


def blamed(function: Any, name: str) -> Any:
    """The reward function, raising :class:`RewardError` in place of whatever it raises; a reward model as it is."""
    if isinstance(function, nn.Module):
        return function
    if not _is_async(function):

        @wraps(function)
        def score(*args: Any, **kwargs: Any) -> Any:
            with _blame(name):
                return function(*args, **kwargs)

        return score

    @wraps(function)
    async def score_later(*args: Any, **kwargs: Any) -> Any:
        with _blame(name):
            return await function(*args, **kwargs)

    return score_later


@contextmanager
def _blame(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RewardError(f"the reward function {name} raised {type(error).__name__}: {error}") from error


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)
