r"""Coins: completions drawn from one of two evaluation points at random, and their exact Pass@k from the counts.

For every completion, a coin with probability ``w`` decides whether the first or the second point samples it. Such a
coin costs nothing to train, so a method has to beat all of them. For a problem, the probability that ``k`` completions
fail is

.. math:: \sum_{j=0}^{k} \binom{k}{j} w^j (1 - w)^{k - j} f_1(j) f_2(k - j),

where :math:`f_i(j)` is the unbiased estimate that ``j`` completions of point ``i`` all fail
(:meth:`~entroshape.metrics.points.EvaluationPoint.failures`). It is a polynomial in ``w`` in Bernstein form, and so is
its mean over problems. Shapes: ``P`` problems, ``N`` points. Needs only NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entroshape.checks import check_number
from entroshape.metrics.points import EvaluationPoint


@dataclass(frozen=True, kw_only=True)
class Coin:
    """A mixture of two points: a completion is drawn from ``first`` with probability ``weight``, else from ``second``.

    The estimate of Pass@k is unbiased if the samples of the two points are independent. It is exact for given counts:
    no completions are drawn. Random numbers that the points share correlate the counts of a problem and make the
    estimate slightly too low. The estimate for a point with itself would be biased, so a single point is a coin of
    weight 1.

    Raises:
        ValueError: the weight is not in ``[0, 1]``, or the points have different numbers of problems.

    Example:
        >>> cold = EvaluationPoint(weights="start", step=0, temperature=0.2, samples=4, successes=(4, 0))
        >>> hot = EvaluationPoint(weights="start", step=0, temperature=1.0, samples=4, successes=(1, 1))
        >>> coin = Coin(first=cold, second=hot, weight=0.5)
        >>> coin.mean, coin.pass_at(1), coin.pass_at(2)
        (0.375, 0.375, 0.5625)
    """

    first: EvaluationPoint
    """The point that a completion is drawn from with probability ``weight``."""

    second: EvaluationPoint
    """The point that a completion is drawn from otherwise."""

    weight: float
    """Probability of ``first``, in ``[0, 1]``. With 1 the coin is the point ``first``."""

    def __post_init__(self) -> None:
        check_number("weight", self.weight, minimum=0.0, maximum=1.0)
        _check_same_problems([self.first, self.second])

    @property
    def single(self) -> EvaluationPoint | None:
        """The only point that completions are drawn from; ``None`` if there are two."""
        return self.first if self.weight == 1 else self.second if self.weight == 0 else None

    @property
    def name(self) -> str:
        """The points with their shares, in words."""
        if self.single is not None:
            return self.single.name
        return f"{self.weight:.0%} from ({self.first.name}), {1 - self.weight:.0%} from ({self.second.name})"

    @property
    def mean(self) -> float:
        """Mean@n, which is linear in the weight."""
        return self.weight * self.first.mean + (1 - self.weight) * self.second.mean

    def pass_at(self, k: int) -> float:
        """Pass@k, the mean over problems.

        Raises:
            ValueError: ``k`` is not from 1 to the number of samples of each point, unless the point is greedy.
        """
        return float(1 - bernstein([self.weight], k)[0] @ pair_failures(self.first, self.second, k))

    def select(self, positions: Sequence[int]) -> Coin:
        """The coin over the problems at these positions only."""
        return replace(self, first=self.first.select(positions), second=self.second.select(positions))

    def at_mean(self, mean: float) -> tuple[Coin, bool]:
        """The coin of the same points with the weight at which it has this Mean@n, and whether there is one.

        Otherwise the weight is that of the nearest Mean@n. If both points have the same one, it is kept.
        """
        low, high = self.second.mean, self.first.mean
        if low == high:
            return self, abs(mean - low) < TOLERANCE
        weight = (mean - low) / (high - low)
        return replace(self, weight=min(1.0, max(0.0, weight))), -TOLERANCE <= weight <= 1 + TOLERANCE

    def at_pass(self, value: float, k: int) -> tuple[Coin, bool]:
        """The coin of the same points with this Pass@k, and whether there is one; if several, that of highest Mean@n.

        If Pass@k is higher for all weights, the coin is the point with the higher Mean@n, which reaches the value. If
        it is lower for all weights, the weight is that of the highest Pass@k.
        """
        ordered = self if self.first.mean >= self.second.mean else self._swapped()
        failures = pair_failures(ordered.first, ordered.second, k)
        low, high = 0.0, 1.0
        for _ in range(REFINEMENTS):
            weights = low + (high - low) * GRID
            curve = 1 - bernstein(weights, k) @ failures
            reached = np.flatnonzero(curve >= value)
            if not reached.size:
                best = int(curve.argmax())
                return replace(ordered, weight=float(weights[best])), bool(curve[best] >= value - TOLERANCE)
            last = int(reached[-1])
            low = float(weights[last])
            if last == len(GRID) - 1:
                break
            high = float(weights[last + 1])
        return replace(ordered, weight=low), True

    def _swapped(self) -> Coin:
        return Coin(first=self.second, second=self.first, weight=1 - self.weight)


TOLERANCE = 1e-9
"""Differences of Mean@n and Pass@k below this are rounding."""

REFINEMENTS = 4
"""Grids of weights, each between two weights of the one before, that lead to an equal Pass@k; ``64**-4`` is enough."""

GRID: NDArray[np.float64] = np.linspace(0.0, 1.0, 65)
"""Weights at which coins are compared when their weight is free. Pass@k changes by at most ``k / 64`` of its range."""


def bernstein(weights: ArrayLike, k: int) -> NDArray[np.float64]:
    """The probabilities that ``j`` of ``k`` completions come from the first point, for each weight.

    Args:
        weights: ``[W]`` weights in ``[0, 1]``.
        k: number of completions.

    Returns:
        ``[W, k + 1]``, with rows that sum to 1.
    """
    w = np.asarray(weights, dtype=np.float64)[:, None]
    j = np.arange(k + 1)
    # 0 ** 0 is 1, as it should be here.
    return _binomials(k) * w**j * (1 - w) ** (k - j)


@lru_cache(maxsize=64)
def _binomials(k: int) -> NDArray[np.float64]:
    return np.array([comb(k, j) for j in range(k + 1)], dtype=np.float64)


def pair_failures(first: EvaluationPoint, second: EvaluationPoint, k: int) -> NDArray[np.float64]:
    """The probability that ``j`` completions of ``first`` and ``k - j`` of ``second`` all fail; mean over problems.

    Returns:
        ``[k + 1]``.

    Raises:
        ValueError: ``k`` exceeds the samples of a point that is not greedy, or the numbers of problems differ.
    """
    _check_same_problems([first, second])
    return np.asarray((first.failures(k) * second.failures(k)[:, ::-1]).mean(axis=0))


def all_pair_failures(points: Sequence[EvaluationPoint], k: int) -> NDArray[np.float64]:
    """:func:`pair_failures` of all ordered pairs of points: ``[N, N, k + 1]``.

    Raises:
        ValueError: ``k`` exceeds the samples of a point that is not greedy, or the numbers of problems differ.
    """
    _check_same_problems(points)
    failures = np.stack([point.failures(k).T for point in points], axis=1)
    pairs = failures @ failures[::-1].swapaxes(1, 2)
    return np.moveaxis(pairs, 0, -1) / failures.shape[2]


def pass_on_grid(failures: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Pass@k at the weights of :data:`GRID`, from ``[N, k + 1]`` failures: ``[N, W]``."""
    return np.asarray(1 - failures @ bernstein(GRID, k).T)


def _check_same_problems(points: Sequence[EvaluationPoint]) -> None:
    counts = sorted({point.problems for point in points})
    if len(counts) != 1:
        raise ValueError(f"points must have the same held-out problems; got {counts} problems")
