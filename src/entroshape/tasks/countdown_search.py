"""Countdown with search: reach a target from four numbers by trial, error and backtracking, all written down.

A problem is ``5 11 2 7 -> 48 :``. A completion is a depth-first search made of five kinds of pieces::

    7 + 5 = 12 lo  P3 11 2 12      a step, a check (lo: below the target), and the numbers that are left
    12 - 2 = 10 lo  P2 11 10
    11 + 10 = 21 lo                a dead end: one number is left, and it is not the target
    B3 11 2 12                     back to the last pool of three numbers on the current path, restated
    12 * 2 = 24 lo  P2 11 24
    24 - 11 = 13 lo
    B4 5 11 2 7  ...  GIVE         back to the start, or give up
    ...  = 48 HIT                  the target: the only end that gets the reward

Steps are canonical: the larger operand first, the operator ``+``, ``-`` or ``*``, and a result in 1-60. The remaining
numbers keep their order, without the first occurrence of each operand, and with the result at the end. A completion
with a single dead end takes 25 tokens; every further dead end takes 9, 19 or 30.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import lru_cache
from operator import add, mul, sub
from typing import Any, NamedTuple

from entroshape.tasks.base import Completion, completion_text

OPERATORS = {"+": add, "-": sub, "*": mul}
VALUES = range(1, 61)
"""Allowed results of a step."""
POOL_SIZE = 4

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
LOW, HIGH, HIT = "lo", "hi", "HIT"
GIVE = "GIVE"
POOLS = {3: "P3", 2: "P2"}
BACKS = {4: "B4", 3: "B3", 2: "B2"}
CHECKS = (LOW, HIGH, HIT)
VOCABULARY = (
    *(PAD, BOS, EOS, *OPERATORS, "=", "->", ":"),
    *(*CHECKS, *POOLS.values(), *BACKS.values(), GIVE),
    *map(str, VALUES),
)
"""All 78 tokens, in the order of their ids."""
MAX_RESPONSE_TOKENS = 160
"""Suggested completion limit in tokens, enough for about ten dead ends."""

Pool = tuple[int, ...]


class Action(NamedTuple):
    """One canonical step: ``first symbol second = result``, with ``first >= second``."""

    first: int
    symbol: str
    second: int
    result: int


class Reading(NamedTuple):
    """The verifier's result for a completion."""

    hit: bool
    """Whether the completion has no error and ends with a hit."""

    first_error: int | None
    """Index of the first token that the grammar does not allow there; ``None`` if there is none."""

    ended: bool
    """Whether the completion ends with a hit or gives up, without an error. Otherwise it has an error or was cut."""


@lru_cache(maxsize=1 << 16)
def actions(pool: Pool) -> tuple[Action, ...]:
    """The distinct canonical actions on ``pool``, in a fixed order.

    Example:
        >>> [f"{a.first} {a.symbol} {a.second} = {a.result}" for a in actions((3, 12))]
        ['12 + 3 = 15', '12 - 3 = 9', '12 * 3 = 36']
    """
    found: dict[Action, None] = {}
    for place, one in enumerate(pool):
        for other in pool[place + 1 :]:
            first, second = max(one, other), min(one, other)
            for symbol, apply in OPERATORS.items():
                result = apply(first, second)
                if result in VALUES:
                    found[Action(first, symbol, second, result)] = None
    return tuple(found)


def remaining(pool: Pool, action: Action) -> Pool:
    """The pool after ``action``: the remaining numbers in their order, then the result.

    Example:
        >>> remaining((5, 11, 2, 7), Action(7, "+", 5, 12))
        (11, 2, 12)
    """
    left = list(pool)
    left.remove(action.first)
    left.remove(action.second)
    return (*left, action.result)


def check_of(result: int, target: int) -> str:
    """Compares ``result`` with ``target``: ``lo``, ``hi`` or ``HIT``."""
    return HIT if result == target else LOW if result < target else HIGH


def read_response(numbers: Sequence[int], target: int, tokens: Sequence[str]) -> Reading:
    """Reads a completion token by token, up to its first error.

    Args:
        numbers: the four numbers, in the order of the prompt.
        target: the number to reach.
        tokens: the completion, with or without ``<eos>`` at the end.

    Example:
        >>> read_response((5, 11, 2, 7), 16, "11 + 5 = 16 HIT".split())
        Reading(hit=True, first_error=None, ended=True)
        >>> read_response((5, 11, 2, 7), 16, "11 + 5 = 16 lo".split()).first_error
        5
    """
    grammar = _grammar(tuple(numbers), target)
    allowed = next(grammar)
    last = ""
    for place, token in enumerate(tokens):
        if token not in allowed:
            return Reading(False, place, False)
        try:
            allowed = grammar.send(token)
        except StopIteration:
            allowed = frozenset()
        last = token if token != EOS else last
    return Reading(last == HIT, None, last in (HIT, GIVE))


def _grammar(numbers: Pool, target: int) -> Generator[frozenset[str], str, None]:
    """Yields the tokens that may come next, and is sent the actual one; ends after ``<eos>``."""
    path = [numbers]  # the pools from the start to the current one, each shorter by one number than the previous
    while True:
        pool = path[-1]
        possible = actions(pool)
        backs = {BACKS[len(earlier)]: place for place, earlier in enumerate(path[:-1])}
        token = yield frozenset({GIVE, *backs, *(str(action.first) for action in possible)})
        if token == GIVE:
            break
        if token in backs:
            path = path[: backs[token] + 1]
            yield from _exactly(path[-1])
            continue
        possible = tuple(action for action in possible if str(action.first) == token)
        symbol = yield frozenset(action.symbol for action in possible)
        possible = tuple(action for action in possible if action.symbol == symbol)
        second = yield frozenset(str(action.second) for action in possible)
        action = next(action for action in possible if str(action.second) == second)
        check = check_of(action.result, target)
        yield from _exactly(["=", action.result, check])
        if check == HIT:
            break
        path.append(remaining(pool, action))
        if len(path[-1]) > 1:
            yield from _exactly([POOLS[len(path[-1])], *path[-1]])
    yield frozenset({EOS})


def _exactly(tokens: Sequence[object]) -> Generator[frozenset[str], str, None]:
    for token in tokens:
        yield frozenset({str(token)})


def is_solution(numbers: Sequence[int], target: int, response: str) -> bool:
    """Whether ``response`` is a search without error that ends with ``HIT``.

    Accepts any text. Everything that is not exactly a solution gives ``False``.

    Example:
        >>> is_solution((5, 11, 2, 7), 16, "7 * 2 = 14 lo P3 5 11 14 B4 5 11 2 7 11 + 5 = 16 HIT")
        True
        >>> is_solution((5, 11, 2, 7), 16, "7 * 2 = 14 lo P3 5 11 14 GIVE")
        False
    """
    return read_response(numbers, target, response.split()).hit


KINDS = ("first", "operator", "second", "equals", "result", "check", "pool", "back", "give", "copy", "end", "other")
"""Kinds of tokens. Decisions are ``first``, ``operator``, ``second``, ``back`` and ``give``; the others follow from
them."""

_KIND_OF_TOKEN = {
    **dict.fromkeys(OPERATORS, "operator"),
    **dict.fromkeys(CHECKS, "check"),
    **dict.fromkeys(POOLS.values(), "pool"),
    **dict.fromkeys(BACKS.values(), "back"),
    **{"=": "equals", GIVE: "give", EOS: "end"},
}
_NUMBERS = frozenset(map(str, VALUES))
_RESTATED = {token: size for tokens in (POOLS, BACKS) for size, token in tokens.items()}


def countdown_search_kinds(prompt: str, tokens: Sequence[str]) -> list[str]:
    """The kind of each token of a completion, one of :data:`KINDS`. Tokens of invalid completions have kinds too.

    A number is ``second`` after an operator, ``result`` after ``=``, ``copy`` in a restated pool, otherwise ``first``.

    Example:
        >>> countdown_search_kinds("5 11 2 7 -> 48 :", "7 + 5 = 12 lo P3 11 2 12".split())
        ['first', 'operator', 'second', 'equals', 'result', 'check', 'pool', 'copy', 'copy', 'copy']
    """
    kinds, before, copies = [], "", 0
    for token in tokens:
        if token not in _NUMBERS:
            kind, copies = _KIND_OF_TOKEN.get(token, "other"), _RESTATED.get(token, 0)
        elif copies:
            kind, copies = "copy", copies - 1
        else:
            kind = {"operator": "second", "equals": "result"}.get(before, "first")
        kinds.append(kind)
        before = kind
    return kinds


DECISIONS = ("first", "operator", "second")
"""The kinds of tokens at which a completion chooses its next step. All other numbers follow from these."""


def countdown_search_first_error(prompt: str, tokens: Sequence[str]) -> int | None:
    """Index of the first token of a completion that the grammar does not allow there; ``None`` if there is none.

    A completion that gives up, or that was cut, has no false token.

    Example:
        >>> countdown_search_first_error("5 11 2 7 -> 48 :", "7 + 5 = 13 lo".split())
        4
    """
    *numbers, _, target, _ = prompt.split()
    return read_response([int(number) for number in numbers], int(target), tokens).first_error


def countdown_search_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    numbers: Sequence[Sequence[int]],
    target: Sequence[int],
    **columns: Any,
) -> list[float]:
    """The reward function: 1 for a search without error that ends with a hit, otherwise 0; see :func:`is_solution`.

    Example:
        >>> texts = ["11 + 5 = 16 HIT", "11 + 5 = 16 lo"]
        >>> countdown_search_reward([""] * 2, texts, numbers=[[5, 11, 2, 7]] * 2, target=[16, 16])
        [1.0, 0.0]
    """
    return [
        float(is_solution(pool, goal, completion_text(completion)))
        for pool, goal, completion in zip(numbers, target, completions, strict=True)
    ]
