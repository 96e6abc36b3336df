"""Coins and hulls in plain Python, by enumeration: the oracle of entroshape.metrics.coins and frontier."""

from itertools import combinations, product
from math import comb

from entroshape.metrics.points import EvaluationPoint


def point(successes, samples, *, weights="last", step=1, temperature=1.0):
    return EvaluationPoint(
        weights=weights, step=step, temperature=temperature, samples=samples, successes=tuple(successes)
    )


def coin_pass(first, second, weight, k):
    """Pass@k of a coin: over every sequence of k tosses, and every choice of as many samples without replacement."""
    total = 0.0
    for c1, c2 in zip(first.successes, second.successes, strict=True):
        for tosses in product([True, False], repeat=k):
            j = sum(tosses)
            chance = weight**j * (1 - weight) ** (k - j)
            total += chance * (1 - _all_fail(c1, first.samples, j) * _all_fail(c2, second.samples, k - j))
    return total / first.problems


def _all_fail(successes, samples, j):
    outcomes = [True] * successes + [False] * (samples - successes)
    subsets = list(combinations(outcomes, j))
    return sum(not any(subset) for subset in subsets) / len(subsets)


def true_pass(chances, k):
    """Pass@k of one problem under a mixture: ``chances`` are pairs (weight, success probability)."""
    return 1 - sum(weight * (1 - p) for weight, p in chances) ** k


def binomial(n, c, p):
    return comb(n, c) * p**c * (1 - p) ** (n - c)


def at_least(points, mean, k, steps=2000):
    """The highest Pass@k of a coin of two points with at least this mean, by a fine grid over the weights."""
    best = -1.0
    for place, first in enumerate(points):
        for second in points[place:]:
            if first is second:
                if first.mean >= mean - 1e-9:
                    best = max(best, first.pass_at(k))
                continue
            for i in range(steps + 1):
                w = i / steps
                if w * first.mean + (1 - w) * second.mean >= mean - 1e-9:
                    best = max(best, quick_pass(first, second, w, k))
    return best


def quick_pass(first, second, w, k):
    total = 0.0
    for c1, c2 in zip(first.successes, second.successes, strict=True):
        n1, n2 = first.samples, second.samples
        total += sum(
            comb(k, j)
            * w**j
            * (1 - w) ** (k - j)
            * comb(n1 - c1, j)
            / comb(n1, j)
            * comb(n2 - c2, k - j)
            / comb(n2, k - j)
            for j in range(k + 1)
        )
    return 1 - total / first.problems
