"""Noisy depth-first searches for Countdown, on which make_search_model.py warm-starts its model."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from entroshape.tasks import countdown_search as search

SPREAD = 15.0
"""An action that misses the target by ``d`` is drawn with weight ``exp(-d / SPREAD)``."""
HIT_CHANCE = 0.6
"""Probability that an action that hits is noticed when two numbers are left."""
BACK_CHANCES = {2: 0.4, 3: 0.5, 4: 0.1}
"""Probability of each pool size to which the search backtracks from a dead end."""
GIVE_CHANCE = 0.06
"""Probability of giving up at a dead end."""


def noisy_search(rng: random.Random, numbers: search.Pool, target: int, limit: int) -> tuple[str, ...]:
    """A valid search for ``target``, guided by distance alone, cut at ``limit`` tokens."""
    tokens: list[object] = []
    path = [numbers]
    while len(tokens) < limit:
        possible = search.actions(path[-1])
        if not possible:
            if len(path) == 1 or rng.random() < GIVE_CHANCE:
                tokens += [search.GIVE, search.EOS]
                break
            path = path[: _back(rng, path) + 1]
            tokens += [search.BACKS[len(path[-1])], *path[-1]]
            continue
        action = _choice(rng, possible, len(path[-1]), target)
        check = search.check_of(action.result, target)
        tokens += [action.first, action.symbol, action.second, "=", action.result, check]
        if check == search.HIT:
            tokens.append(search.EOS)
            break
        path.append(search.remaining(path[-1], action))
        if len(path[-1]) > 1:
            tokens += [search.POOLS[len(path[-1])], *path[-1]]
    return tuple(map(str, tokens[:limit]))


def _choice(rng: random.Random, possible: Sequence[search.Action], size: int, target: int) -> search.Action:
    if size == 2 and rng.random() < HIT_CHANCE:
        for action in possible:
            if action.result == target:
                return action
    return rng.choices(possible, [math.exp(-abs(action.result - target) / SPREAD) for action in possible])[0]


def _back(rng: random.Random, path: Sequence[search.Pool]) -> int:
    """Index in ``path`` of the pool to backtrack to, which is not the last one."""
    places = range(len(path) - 1)
    return rng.choices(places, [BACK_CHANCES[len(path[place])] for place in places])[0]
