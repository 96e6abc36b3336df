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
    """The reward function, raising :class:`RewardError` in place of whatever it raises; a reward model as it is.

    A function whose errors name it already, which it says with itself as its attribute ``names_itself``, is named once.
    """
    if isinstance(function, nn.Module):
        return function
    names_itself = getattr(function, "names_itself", None) is function
    if not _is_async(function):

        @wraps(function)
        def score(*args: Any, **kwargs: Any) -> Any:
            with _blame(name, names_itself):
                return function(*args, **kwargs)

        return score

    @wraps(function)
    async def score_later(*args: Any, **kwargs: Any) -> Any:
        with _blame(name, names_itself):
            return await function(*args, **kwargs)

    return score_later


@contextmanager
def _blame(name: str, names_itself: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        what = f"{error}" if names_itself else f"the reward function {name} raised {type(error).__name__}: {error}"
        raise RewardError(what) from error


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)
