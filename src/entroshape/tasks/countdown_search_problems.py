"""Problems of Countdown with search: their exact difficulty, and the split into training and held-out problems."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement, islice
from typing import Any

from entroshape.tasks import countdown
from entroshape.tasks.base import Task
from entroshape.tasks.countdown import HELD_OUT, HELD_OUT_SEED, INPUTS, Key, check_test_size, problem_rows
from entroshape.tasks.countdown_search import (
    DECISIONS,
    MAX_RESPONSE_TOKENS,
    POOL_SIZE,
    Pool,
    actions,
    countdown_search_first_error,
    countdown_search_kinds,
    countdown_search_reward,
    remaining,
)
from entroshape.tasks.fresh import FRESH_SEED, fresh_problems
from entroshape.tasks.spec import TaskSpec

TARGETS = range(10, 61)
LEVELS: Mapping[str, tuple[float, float]] = {"easy": (0.05, 1.0), "middle": (0.013, 0.05), "hard": (0.003, 0.013)}
"""Bounds of ``hit_probability`` per level: greater than the first, at most the second."""

DEFAULT_LEVEL = "hard"


class Problem(countdown.Problem):
    """Four numbers, each of which may be used at most once on a path, and the target to reach.

    Example:
        >>> Problem((5, 11, 2, 7), 48).prompt
        '5 11 2 7 -> 48 :'
    """

    arrow = "->"


def hit_probability(numbers: Pool, target: int) -> float:
    """The probability that one random path without backtracking hits ``target``, computed exactly by enumeration.

    A path takes actions until it hits or has none left. Each is uniform over the distinct canonical actions.

    Example:
        >>> hit_probability((3, 12), 36) == 1 / 3
        True
    """
    return _hit_probabilities(tuple(sorted(numbers))).get(target, 0.0)


@lru_cache(maxsize=1 << 16)
def _hit_probabilities(pool: Pool) -> Mapping[int, float]:
    """:func:`hit_probability` of every target that can be reached from ``pool``, which is in ascending order."""
    chances: defaultdict[int, float] = defaultdict(float)
    possible = actions(pool)
    for action in possible:
        chances[action.result] += 1 / len(possible)
        for target, chance in _hit_probabilities(tuple(sorted(remaining(pool, action)))).items():
            if target != action.result:  # a path ends where it hits
                chances[target] += chance / len(possible)
    return chances


@lru_cache(maxsize=1)
def solvable_problems() -> Mapping[Key, float]:
    """All 39,484 problems that have a solution, with their ``hit_probability``, in a fixed order."""
    return {
        (numbers, target): chance
        for numbers in combinations_with_replacement(INPUTS, POOL_SIZE)
        for target, chance in sorted(_hit_probabilities(numbers).items())
        if target in TARGETS and target not in numbers
    }


@lru_cache(maxsize=len(LEVELS))
def _split(level: str) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """The held-out keys of a level, and all its other keys."""
    lowest, highest = LEVELS[level]
    keys = [key for key, chance in solvable_problems().items() if lowest < chance <= highest]
    random.Random(f"{HELD_OUT_SEED}-{level}").shuffle(keys)
    return tuple(keys[:HELD_OUT]), tuple(keys[HELD_OUT:])


@lru_cache(maxsize=len(LEVELS))
def held_out_problems(level: str) -> tuple[Problem, ...]:
    """The 256 test problems of a level. They are always the same and never trained on, on any level."""
    rng = random.Random(f"{HELD_OUT_SEED}-{level}-order")
    return tuple(_ordered(rng, key) for key in _split(level)[0])


@lru_cache(maxsize=1)
def held_out_keys() -> frozenset[Key]:
    """The keys of the test problems of all levels, which are excluded from all training data."""
    return frozenset(key for level in LEVELS for key in _split(level)[0])


def training_problems(level: str, seed: int) -> Iterator[Problem]:
    """Endless random training problems of a level, none of them held out.

    Example:
        >>> next(training_problems("hard", 0)) == next(training_problems("hard", 0))
        True
    """
    rng, keys = random.Random(seed), _split(level)[1]
    while True:
        yield _ordered(rng, rng.choice(keys))


def _ordered(rng: random.Random, key: Key) -> Problem:
    numbers, target = key
    return Problem(tuple(rng.sample(numbers, len(numbers))), target)


def load_countdown_search(
    spec: TaskSpec, *, train_size: int, test_size: int, seed: int, fresh: int | None = None
) -> Task:
    """Loads the task at one level: ``train_size`` problems drawn with ``seed``, the first ``test_size`` held-out ones.

    Args:
        spec: may have the option ``level``: easy, middle or hard (the default).
        train_size: number of training problems.
        test_size: number of test problems.
        seed: random seed for the training problems.
        fresh: number of test problems that are neither held out nor among the training problems, instead of those.

    Raises:
        ValueError: an option is unknown or invalid, ``test_size`` is above 256, or there are fewer fresh problems.
    """
    level = spec.options.get("level", DEFAULT_LEVEL)
    if not spec.options.keys() <= {"level"} or level not in LEVELS:
        raise ValueError(f"countdown_search takes level={', level='.join(LEVELS)} after '?'; got {spec.query!r}")
    check_test_size("countdown_search", test_size)
    name = f"countdown_search-{level}"
    train = list(islice(training_problems(level, seed), train_size))
    test, split = held_out_problems(level)[:test_size], "test"
    if fresh is not None:
        rng, used = random.Random(f"{FRESH_SEED}-{level}"), {problem.key for problem in train}
        # None of these is held out on any level, because a problem has one level.
        others = rng.sample(_split(level)[1], len(_split(level)[1]))
        found = fresh_problems(spec.text, ((key, key) for key in others), used, fresh)
        test, split = tuple(_ordered(rng, key) for key in found), "fresh"
    return Task(
        name=spec.text,
        train=_rows(f"{name}-train-{seed}", train),
        test=_rows(f"{name}-{split}", test),
        reward=countdown_search_reward,
        max_completion_length=MAX_RESPONSE_TOKENS,
        token_kinds=countdown_search_kinds,
        decision_kinds=DECISIONS,
        first_error=countdown_search_first_error,
    )


def _rows(name: str, problems: Sequence[Problem]) -> Any:
    chances = [hit_probability(problem.numbers, problem.target) for problem in problems]
    return problem_rows(name, problems, hit_probability=chances)
