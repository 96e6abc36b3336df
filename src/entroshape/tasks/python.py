"""The user's own reward function or task, named ``module:name``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from entroshape.names import raised, resolve
from entroshape.tasks.base import RewardFunction, Task
from entroshape.tasks.checked import checked_reward


def load_reward(spec: str) -> RewardFunction:
    """Loads the user's reward function ``module:name``; its results are checked at every call.

    Raises:
        ValueError: see :func:`resolve`, or the object is not a plain function.
    """
    function = resolve(spec)
    if not callable(function) or inspect.isclass(function):
        raise ValueError(f"reward {spec!r} must be a function f(prompts, completions, **columns); got {function!r}")
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"reward {spec!r} must be a plain function; got a coroutine function (async def)")
    return checked_reward(function, spec)


def load_user_task(spec: str, *, train_size: int | None, test_size: int | None) -> Task:
    """Loads the user's task: ``module:name`` is a :class:`Task`, or a function without arguments that returns one.

    Raises:
        ValueError: see :func:`resolve`, or the object is neither.
    """
    value = resolve(spec)
    task = _called(value, spec) if callable(value) and not isinstance(value, Task) else value
    if not isinstance(task, Task):
        raise ValueError(f"task {spec!r} must be a Task or a function that returns one; got {type(task).__name__}")
    train = task.train if train_size is None else task.train.select(range(min(train_size, len(task.train))))
    test = task.test if test_size is None else task.test.select(range(min(test_size, len(task.test))))
    return replace(task, train=train, test=test, reward=checked_reward(task.reward, f"{spec} reward"))


def _called(function: Callable[[], Any], spec: str) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ValueError(f"task {spec!r} cannot be created: {raised(error)}") from error
