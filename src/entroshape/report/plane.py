"""The plane of Mean@n and Pass@k as plain values for the pages: curves over temperatures, and the hull."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from entroshape.metrics.coins import Coin
from entroshape.metrics.frontier import Hull
from entroshape.metrics.points import EvaluationPoint, reported_tries
from entroshape.metrics.wording import wording

PLACES = 40
"""Number of values of Mean@n at which a hull is drawn."""

Runs = Mapping[int, Sequence[EvaluationPoint]]
"""Points by seed."""


def run_plane(points: Sequence[EvaluationPoint]) -> dict[str, Any] | None:
    """The plane of a single run: the start's curve and its hull, against the trained weights.

    Returns:
        ``None`` if the start or the trained weights were evaluated at one temperature only.
    """
    start = [point for point in points if point.weights == "start"]
    trained = [point for point in points if point.weights != "start"]
    if min(len({point.temperature for point in own}) for own in (start, trained)) < 2:
        return None
    tries = reported_tries(points)
    return {
        "tries": [{"k": str(k), "label": wording(f"pass@{k}").label} for k in reversed(tries)],
        "x": mean_label(points),
        "curves": [
            *({"start": True, **curve} for curve in plane_curves({0: start}, tries, "before training")),
            *({"start": False, **curve} for curve in plane_curves({0: trained}, tries, "trained")),
        ],
        "hull": plane_hull({0: start}, tries, "hull of the start"),
    }


def mean_label(points: Sequence[EvaluationPoint]) -> str:
    """Mean@n with the number of samples, such as ``"Mean@32"``."""
    return wording(f"mean@{max(point.samples for point in points)}").label


def plane_curves(runs: Runs, tries: Sequence[int], title: str) -> list[dict[str, Any]]:
    """The points of an arm, as means over the seeds that all have them.

    Points of the last step form one curve per kind of weights, from cold to hot. Points of earlier steps stand alone.

    Returns:
        One object per curve: ``line``, whether it is drawn as a line; ``main``, whether it belongs to the last weights;
        ``points`` with ``x``, ``y`` by ``k``, their temperature in words, and the lines of their text by ``k``.
    """
    by_setting: dict[tuple[str, int, float], list[EvaluationPoint]] = {}
    for points in runs.values():
        for point in points:
            by_setting.setdefault(point.setting, []).append(point)
    whole = {setting: own for setting, own in by_setting.items() if len(own) == len(runs)}
    last = max((step for _, step, _ in whole), default=0)
    curves: dict[tuple[str, int], list[list[EvaluationPoint]]] = {}
    for weights, step, temperature in sorted(whole):
        curves.setdefault((weights, step), []).append(whole[weights, step, temperature])
    return [
        {
            "line": step == last or weights == "start",
            "main": weights in ("start", "last"),
            "points": [_point(own, tries, title) for own in every],
        }
        for (weights, step), every in curves.items()
    ]


def plane_hull(
    runs: Runs, tries: Sequence[int], title: str, reach: Callable[[Sequence[float]], float] = lambda values: 0.0
) -> dict[str, list[dict[str, Any]]]:
    """The hull of the points of each seed, as mean and band over seeds, by ``k``.

    It is drawn over the range of Mean@n that the hulls of all seeds share, on all held-out problems.

    Args:
        runs: the points of the hull by seed.
        tries: the values of ``k``.
        title: the first line of the text of each place.
        reach: half the width of the band, from the values of the seeds.
    """
    return {str(k): _hull([Hull(tuple(points), k) for points in runs.values()], title, reach) for k in tries}


def _hull(hulls: Sequence[Hull], title: str, reach: Callable[[Sequence[float]], float]) -> list[dict[str, Any]]:
    low = max(hull.range[0] for hull in hulls)
    high = min(hull.range[1] for hull in hulls)
    drawn = []
    for mean in np.linspace(low, high, PLACES) if high > low else ():
        coins = [coin for hull in hulls if (coin := hull.at_mean(float(mean)))]
        values = [coin.pass_at(hulls[0].k) for coin in coins]
        middle, half = sum(values) / len(values), reach(values)
        text = [title, *_plane_text(float(mean), middle, hulls[0].points, hulls[0].k), *_mixture(coins)]
        band = {"low": _short(max(0.0, middle - half)), "high": _short(min(1.0, middle + half))}
        drawn.append({"x": _short(float(mean)), "y": _short(middle), **band, "text": text})
    return drawn


def _mixture(coins: Sequence[Coin]) -> list[str]:
    """What is mixed: the most frequent pair over seeds, with its mean weight."""
    pairs = Counter((coin.first.setting, coin.second.setting) for coin in coins)
    (pair, count), *_ = pairs.most_common(1)
    same = [coin for coin in coins if (coin.first.setting, coin.second.setting) == pair]
    weight = sum(coin.weight for coin in same) / count
    seeds = [f"this pair in {count} of {len(coins)} seeds"] if len(coins) > 1 else []
    first, second = same[0].first.name, same[0].second.name
    if first == second or weight > 0.995:
        return [first, *seeds]
    return [f"{weight:.0%} {first}", f"{1 - weight:.0%} {second}", *seeds]


def _point(own: Sequence[EvaluationPoint], tries: Sequence[int], title: str) -> dict[str, Any]:
    mean = sum(point.mean for point in own) / len(own)
    passed = {k: sum(point.pass_at(k) for point in own) / len(own) for k in tries}
    seeds = [f"mean of {len(own)} seeds"] if len(own) > 1 else []
    return {
        "x": _short(mean),
        "y": {str(k): _short(value) for k, value in passed.items()},
        "sampling": own[0].sampling,
        "text": {
            str(k): [title, own[0].name, *_plane_text(mean, value, own, k), *seeds] for k, value in passed.items()
        },
    }


def _plane_text(mean: float, passed: float, points: Sequence[EvaluationPoint], k: int) -> list[str]:
    words = wording(f"pass@{k}")
    return [f"{mean_label(points)} {words.value(mean)}", f"{words.label} {words.value(passed)}"]


def _short(value: float) -> float:
    return float(f"{value:.5g}")
