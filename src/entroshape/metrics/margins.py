"""What a method adds beyond the hull of a baseline: chosen on one half of the held-out problems, reported on the other.

The point of the method (its weights, step and temperature) and the pair of points that form the coin of the hull are
chosen on the choice half. On the report half nothing is chosen: only the weight of the coin follows, from equal Mean@n
or equal Pass@k. If no weight makes them equal there, the nearest one is used, and the margin says so. Needs only NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from entroshape.metrics.coins import TOLERANCE, Coin
from entroshape.metrics.frontier import Hull
from entroshape.metrics.points import EvaluationPoint, choice_half, report_half

PLACES = 32
"""Number of equal intervals of Mean@n over which an area is summed."""

Points = Sequence[EvaluationPoint]


@dataclass(frozen=True)
class SplitHull:
    """The hull of these points, with its coins chosen on the choice half of the problems.

    Raises:
        ValueError: there are fewer than two problems, or the points form no :class:`~entroshape.metrics.frontier.Hull`.
    """

    points: tuple[EvaluationPoint, ...]
    k: int

    def __post_init__(self) -> None:
        Hull(self.points, self.k)

    @cached_property
    def choice(self) -> Hull:
        """The hull on the choice half."""
        return Hull(tuple(_choice(point) for point in self.points), self.k)

    def whole(self, coin: Coin) -> Coin:
        """A coin of :attr:`choice` over all problems."""
        points = {point.setting: point for point in self.points}
        return replace(coin, first=points[coin.first.setting], second=points[coin.second.setting])


@dataclass(frozen=True, kw_only=True)
class Margin:
    """How far a method's chosen point lies beyond the chosen coin of the hull, on the report half."""

    value: float
    """Difference in Pass@k at equal Mean@n, or in Mean@n at equal Pass@k; positive if the method is ahead."""

    choice: float
    """The same difference on the choice half, on which it was chosen as the largest and is therefore too high."""

    point: EvaluationPoint
    """The method's point, over all problems."""

    coin: Coin
    """The coin of the hull over all problems, with its weight on the report half."""

    reached: bool
    """Whether the coin has the same Mean@n (Pass@k) on the report half; if no weight gives it, it has the nearest."""


def above_hull(points: Points, hull: SplitHull) -> Margin:
    """Pass@k above the hull at equal Mean@n.

    The coin has at least the point's Mean@n on the choice half. If the point's Mean@n is higher than that of all coins,
    it is compared with the point of the hull that has the highest Mean@n.

    Args:
        points: the method's points, over all problems.
        hull: the hull of the start and the baseline.

    Raises:
        ValueError: there are no points, or they have other problems or too few samples.
    """
    k = hull.k

    def at_choice(point: EvaluationPoint) -> tuple[float, Coin]:
        coin = hull.choice.at_mean(point.mean) or hull.choice.highest_mean()
        return point.pass_at(k) - coin.pass_at(k), coin

    point, choice, coin = _chosen(points, at_choice)
    own = point.select(report_half(point.problems))
    other, reached = _at_equal_mean(hull.whole(coin), own.mean, free=coin.mean > _choice(point).mean + TOLERANCE)
    return _margin(own.pass_at(k) - other.pass_at(k), choice, point, hull, other, reached)


def mean_above_hull(points: Points, hull: SplitHull) -> Margin:
    """Mean@n above the hull at equal Pass@k.

    The coin has at least the point's Pass@k on the choice half. If the point's Pass@k is higher than that of all coins,
    it is compared with the coin that has the highest Pass@k.

    Raises:
        ValueError: see :func:`above_hull`.
    """
    k = hull.k

    def at_choice(point: EvaluationPoint) -> tuple[float, Coin]:
        coin = hull.choice.at_pass(point.pass_at(k)) or hull.choice.highest_pass()
        return point.mean - coin.mean, coin

    point, choice, coin = _chosen(points, at_choice)
    own = point.select(report_half(point.problems))
    other, reached = _report(hull.whole(coin)).at_pass(own.pass_at(k), k)
    return _margin(own.mean - other.mean, choice, point, hull, other, reached)


def area_beyond_hull(points: Points, hull: SplitHull) -> float | None:
    """The area between the method's own hull and the hull, in squared percentage points.

    Both hulls are compared at equal Mean@n over the range of Mean@n that they share on the choice half. Only the part
    of the range where the method is ahead on the choice half counts. How far it is ahead there is measured on the
    report half, so the result may be negative.

    Returns:
        The area; ``None`` if the ranges of Mean@n do not overlap on the choice half.

    Raises:
        ValueError: see :func:`above_hull`.
    """
    own = SplitHull(tuple(points), hull.k)
    low = max(own.choice.range[0], hull.choice.range[0])
    high = min(own.choice.range[1], hull.choice.range[1])
    if low >= high:
        return None
    heights = []
    for mean in low + (high - low) * (np.arange(PLACES) + 0.5) / PLACES:
        mine, theirs = own.choice.at_mean(mean), hull.choice.at_mean(mean)
        if mine and theirs and mine.pass_at(hull.k) > theirs.pass_at(hull.k):
            reported = _report(own.whole(mine))
            free = theirs.mean > mine.mean + TOLERANCE
            other, _ = _at_equal_mean(hull.whole(theirs), reported.mean, free=free)
            heights.append(reported.pass_at(hull.k) - other.pass_at(hull.k))
    return float(sum(heights) * (high - low) / PLACES * 100**2)


def best_greedy(points: Points) -> EvaluationPoint | None:
    """The greedy point with the highest mean on the choice half, over the report half; ``None`` if none is greedy."""
    greedy = [point for point in points if point.temperature == 0]
    return best_mean(greedy) if greedy else None


def best_mean(points: Points) -> EvaluationPoint:
    """The point with the highest mean on the choice half, over the report half.

    Raises:
        ValueError: there are no points, or fewer than two problems.
    """
    if not points:
        raise ValueError("points must be at least one; got none")
    best = max(points, key=lambda point: _choice(point).mean)
    return best.select(report_half(best.problems))


def _chosen(
    points: Points, at_choice: Callable[[EvaluationPoint], tuple[float, Coin]]
) -> tuple[EvaluationPoint, float, Coin]:
    """The point with the largest margin on the choice half, with that margin and its coin."""
    if not points:
        raise ValueError("points of a method must be at least one; got none")
    margins = [at_choice(_choice(point)) for point in points]
    best = max(range(len(points)), key=lambda place: margins[place][0])
    return points[best], *margins[best]


def _at_equal_mean(coin: Coin, mean: float, *, free: bool) -> tuple[Coin, bool]:
    """The coin on the report half with the weight of this Mean@n, and whether there is one.

    A coin that was ``free`` had more than the point's Mean@n on the choice half and the weight of its highest Pass@k.
    It keeps this weight if it has at least the Mean@n here too.
    """
    reported = _report(coin)
    if free and reported.mean >= mean:
        return reported, True
    return reported.at_mean(mean)


def _margin(value: float, choice: float, point: EvaluationPoint, hull: SplitHull, coin: Coin, reached: bool) -> Margin:
    return Margin(value=value, choice=choice, point=point, coin=hull.whole(coin), reached=reached)


def _choice(point: EvaluationPoint) -> EvaluationPoint:
    return point.select(choice_half(point.problems))


def _report(coin: Coin) -> Coin:
    return coin.select(report_half(coin.first.problems))
