"""Countdown: reach a target from four numbers, writing down every step and the numbers that are left.

A problem is ``3 7 5 2 > 24 :`` and a solution ``3 * 7 = 21 , 5 2 21 ; 21 + 5 = 26 , 2 26 ; 26 - 2 = 24``: after each
step except the last, the pool of numbers that may still be used is restated, in any order. Numbers may remain unused.
Every number is one token of a vocabulary of 111 tokens, which is the whole vocabulary of the bundled tiny model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from operator import add, mul, sub
from typing import Any, ClassVar

from entroshape.tasks.base import Completion, Task, completion_text, optional_module
from entroshape.tasks.fresh import FRESH_SEED, fresh_problems

OPERATORS = {"+": add, "-": sub, "*": mul}
INPUTS = range(1, 13)
"""The numbers in problems. A number may occur more than once."""
VALUES = range(100)
"""Allowed results of a step."""
LOWEST_TARGET = 10
POOL_SIZE = 4

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY = (PAD, BOS, EOS, *OPERATORS, "=", ",", ";", ">", ":", *map(str, VALUES))
"""All 111 tokens, in the order of their ids."""
MAX_RESPONSE_TOKENS = 25
"""Length of the longest solution: three steps, two pools and ``<eos>``."""

HELD_OUT = 256
"""Number of test problems."""
FRESH_DRAWS = 100
"""Most draws per fresh problem: some are training problems."""

HELD_OUT_SEED = 20250808
_NUMBERS = {str(value): value for value in VALUES}

Key = tuple[tuple[int, ...], int]
"""Identifies a problem: the numbers in ascending order, and the target."""


@dataclass(frozen=True)
class Problem:
    """Numbers, each of which may be used at most once, and the target to reach.

    Example:
        >>> Problem((3, 7, 5, 2), 24).prompt
        '3 7 5 2 > 24 :'
    """

    numbers: tuple[int, ...]
    target: int
    arrow: ClassVar[str] = ">"

    @property
    def prompt(self) -> str:
        """The problem as the model reads it; the tokenizer puts ``<bos>`` before it."""
        return f"{' '.join(map(str, self.numbers))} {self.arrow} {self.target} :"

    @property
    def key(self) -> Key:
        """Identifies the problem whatever the order of its numbers: their multiset, and the target."""
        return tuple(sorted(self.numbers)), self.target


@dataclass(frozen=True)
class Step:
    """One line of a solution: ``left operator right = result``."""

    left: int
    operator: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


def random_chain(rng: random.Random, numbers: Sequence[int], steps: int) -> list[Step]:
    """Draws ``steps`` random steps: two numbers of the pool and an operator, uniformly with results in 0-99.

    Raises:
        ValueError: there are fewer than ``steps + 1`` numbers.
    """
    if not 1 <= steps < len(numbers):
        raise ValueError(f"steps must be in [1, {len(numbers) - 1}] for {len(numbers)} numbers; got {steps}")
    pool = list(numbers)
    chain: list[Step] = []
    while len(chain) < steps:
        first, second = rng.sample(range(len(pool)), 2)
        symbol = rng.choice(tuple(OPERATORS))
        step = Step(pool[first], symbol, pool[second], OPERATORS[symbol](pool[first], pool[second]))
        if step.result in VALUES:
            chain.append(step)
            pool = [*(value for place, value in enumerate(pool) if place not in (first, second)), step.result]
    return chain


def render_chain(numbers: Sequence[int], chain: Sequence[Step]) -> str:
    """The completion that writes down ``chain``.

    Example:
        >>> render_chain((3, 7, 5, 2), [Step(3, "*", 7, 21), Step(21, "+", 5, 26)])
        '3 * 7 = 21 , 5 2 21 ; 21 + 5 = 26'
    """
    pool, pieces = list(numbers), []
    for step in chain:
        pool.remove(step.left)
        pool.remove(step.right)
        pool.append(step.result)
        pieces += [str(step), f", {' '.join(map(str, pool))} ;"]
    return " ".join(pieces[:-1])


def is_solution(numbers: Sequence[int], target: int, response: str) -> bool:
    """Whether ``response`` reaches ``target`` from ``numbers``, with all steps and all restated pools correct.

    Accepts any text. Everything that is not exactly a solution gives ``False``.

    Example:
        >>> is_solution((3, 7, 5, 2), 26, "3 * 7 = 21 , 5 2 21 ; 21 + 5 = 26")
        True
        >>> is_solution((3, 7, 5, 2), 26, "21 + 5 = 26")
        False
    """
    tokens, pool, place = response.split(), list(numbers), 0
    while True:
        match tokens[place : place + 5]:
            case [left, symbol, right, "=", result] if symbol in OPERATORS:
                place += 5
            case _:
                return False
        # Looked up and not converted, so that "07", "٣" or a number of 5,000 digits is no valid number.
        values = [_NUMBERS.get(token) for token in (left, right, result)]
        if None in values or OPERATORS[symbol](*values[:2]) != values[2]:
            return False
        for value in values[:2]:
            if value not in pool:
                return False
            pool.remove(value)
        pool.append(_NUMBERS[result])
        if place == len(tokens):
            return _NUMBERS[result] == target
        restated = tokens[place : place + len(pool) + 2]
        if restated[0] != "," or restated[-1] != ";" or sorted(restated[1:-1]) != sorted(map(str, pool)):
            return False
        place += len(restated)


def countdown_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    numbers: Sequence[Sequence[int]],
    target: Sequence[int],
    **columns: Any,
) -> list[float]:
    """The reward function: 1 for an exact solution, 0 for everything else; see :func:`is_solution`.

    Example:
        >>> countdown_reward(["2 5 > 10 :"], ["2 * 5 = 10"], numbers=[[2, 5]], target=[10])
        [1.0]
    """
    return [
        float(is_solution(pool, goal, completion_text(completion)))
        for pool, goal, completion in zip(numbers, target, completions, strict=True)
    ]


_KIND_OF_TOKEN = {
    **dict.fromkeys(OPERATORS, "operator"),
    **{"=": "equals", ",": "pool", ";": "next", EOS: "end"},
}
DECISIONS = ("first", "operator", "second", "pool", "end")
"""The kinds of tokens at which a completion chooses: the next step, and whether to go on or to end. Copies may come in
any order, but must be those numbers."""


def countdown_kinds(prompt: str, tokens: Sequence[str]) -> list[str]:
    """The kind of each token of a completion. Tokens of invalid completions have kinds too.

    A number is ``second`` after an operator, ``result`` after ``=``, ``copy`` in a restated pool, otherwise ``first``.

    Example:
        >>> countdown_kinds("3 7 5 2 > 24 :", "3 * 7 = 21 , 5 2 21 ; 21".split())
        ['first', 'operator', 'second', 'equals', 'result', 'pool', 'copy', 'copy', 'copy', 'next', 'first']
    """
    kinds: list[str] = []
    after = {"operator": "second", "equals": "result", "pool": "copy", "copy": "copy"}
    for token in tokens:
        number = after.get(kinds[-1], "first") if kinds else "first"
        kinds.append(number if token in _NUMBERS else _KIND_OF_TOKEN.get(token, "other"))
    return kinds


@lru_cache(maxsize=1)
def held_out_problems() -> tuple[Problem, ...]:
    """The 256 test problems. They are always the same, differ in numbers or target, and are never trained on."""
    rng, problems = random.Random(HELD_OUT_SEED), dict[Key, Problem]()
    while len(problems) < HELD_OUT:
        problem = _random_problem(rng)
        problems.setdefault(problem.key, problem)
    return tuple(problems.values())


@lru_cache(maxsize=1)
def held_out_keys() -> frozenset[Key]:
    """The keys of :func:`held_out_problems`, which are excluded from all training data."""
    return frozenset(problem.key for problem in held_out_problems())


def training_problems(seed: int) -> Iterator[Problem]:
    """Endless random training problems, none of them held out. The target is the result of three random steps.

    Example:
        >>> next(training_problems(0)) == next(training_problems(0))
        True
    """
    rng = random.Random(seed)
    while True:
        problem = _random_problem(rng)
        if problem.key not in held_out_keys():
            yield problem


def is_target(numbers: Sequence[int], value: int) -> bool:
    """Whether ``value`` may be the target of ``numbers``: at least 10, and not one of them."""
    return value >= LOWEST_TARGET and value not in numbers


def random_numbers(rng: random.Random) -> tuple[int, ...]:
    """Draws four numbers from 1-12, with replacement."""
    return tuple(rng.choices(INPUTS, k=POOL_SIZE))


def _random_problem(rng: random.Random) -> Problem:
    while True:
        numbers = random_numbers(rng)
        target = random_chain(rng, numbers, POOL_SIZE - 1)[-1].result
        if is_target(numbers, target):
            return Problem(numbers, target)


def load_countdown(*, train_size: int, test_size: int, seed: int, fresh: int | None = None) -> Task:
    """Loads the task: ``train_size`` problems drawn with ``seed``, and the first ``test_size`` held-out problems.

    With ``fresh``, that many problems which are neither held out nor among the training problems are the test problems.

    Raises:
        ValueError: ``test_size`` is above 256, or there are fewer fresh problems.
    """
    check_test_size("countdown", test_size)
    train = list(islice(training_problems(seed), train_size))
    test, split = held_out_problems()[:test_size], "test"
    if fresh is not None:
        rng, used = random.Random(FRESH_SEED), {*held_out_keys(), *(problem.key for problem in train)}
        draws = (_random_problem(rng) for _ in range(FRESH_DRAWS * fresh))
        test, split = tuple(fresh_problems("countdown", ((each.key, each) for each in draws), used, fresh)), "fresh"
    return Task(
        name="countdown",
        train=problem_rows(f"countdown-train-{seed}", train),
        test=problem_rows(f"countdown-{split}", test),
        reward=countdown_reward,
        max_completion_length=MAX_RESPONSE_TOKENS + 3,
        token_kinds=countdown_kinds,
        decision_kinds=DECISIONS,
    )


def check_test_size(task: str, test_size: int) -> None:
    """Raises ``ValueError`` if there are fewer than ``test_size`` held-out problems."""
    if test_size > HELD_OUT:
        raise ValueError(
            f"test_size of {task} must be at most {HELD_OUT}, the number of held-out problems; got {test_size}"
        )


def problem_rows(name: str, problems: Sequence[Problem], **columns: Sequence[Any]) -> Any:
    """A data set of ``problems`` with the ids ``name-0``, ``name-1``, ... and further ``columns``."""
    return optional_module("datasets").Dataset.from_dict(
        {
            "id": [f"{name}-{place}" for place in range(len(problems))],
            "prompt": [problem.prompt for problem in problems],
            "numbers": [list(problem.numbers) for problem in problems],
            "target": [problem.target for problem in problems],
            **columns,
        }
    )
