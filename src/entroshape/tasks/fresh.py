"""Fresh problems: a third set, disjoint from the training and from the held-out problems of a task."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

FRESH_SEED = "fresh"
"""Fresh problems are drawn in the same order for every run; those in its training data are passed over."""


def fresh_problems(
    task: str, candidates: Iterable[tuple[Key, Value]], used: Container[Key], number: int
) -> list[Value]:
    """The first distinct candidates that are not in use.

    Args:
        task: the task, for the error.
        candidates: keys that identify a problem, with the problem.
        used: keys of the training and of the held-out problems.
        number: how many.

    Raises:
        ValueError: there are fewer.

    Example:
        >>> fresh_problems("letters", [("a", 1), ("b", 2), ("b", 2), ("c", 3), ("d", 4)], {"a"}, 2)
        [2, 3]
    """
    found: dict[Key, Value] = {}
    for key, value in candidates:
        if key not in used and key not in found:
            found[key] = value
            if len(found) == number:
                return list(found.values())
    raise ValueError(
        f"fresh must be at most {len(found)} for {task}: it has no more problems that are neither held out nor "
        f"training problems; got {number}"
    )
