"""The hull of evaluation points: all that coins of two points reach in the plane of Mean@n and Pass@k.

A point of an evaluation can be moved without training: by the sampling temperature, by an earlier step, or by a coin
between two points (:mod:`entroshape.metrics.coins`). The hull is all that this can reach from the start and a baseline:
for a Mean@n, the highest Pass@k of all coins of two points that have at least this Mean@n.

Coins of three points are left out. For one problem, Pass@k is concave in the weights, so mixing more points could gain
a little. In the tests, on simulated starts and trained models over four temperatures, it is less than 0.1 points.

Needs only NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from entroshape.metrics.coins import GRID, TOLERANCE, Coin, all_pair_failures, bernstein, pass_on_grid
from entroshape.metrics.points import EvaluationPoint

SLACK = 0.02
"""Pass@k of a coin exceeds its values at the neighbouring weights of :data:`GRID` by less than this."""


@dataclass(frozen=True)
class Hull:
    """All coins of two of these points, and the points themselves, in the plane of Mean@n and Pass@k.

    Raises:
        ValueError: there are no points, they have different problems, or one that is not greedy has fewer than ``k``
            samples.

    Example:
        >>> cold = EvaluationPoint(weights="start", step=0, temperature=0.2, samples=4, successes=(4, 0, 2))
        >>> hot = EvaluationPoint(weights="start", step=0, temperature=1.0, samples=4, successes=(1, 1, 1))
        >>> coin = Hull((cold, hot), k=2).at_mean(0.49)
        >>> round(coin.mean, 6), round(coin.pass_at(2), 3), round(coin.weight, 3)
        (0.49, 0.612, 0.96)
    """

    points: tuple[EvaluationPoint, ...]
    k: int

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("points of a hull must be at least one; got none")
        settings = [point.setting for point in self.points]
        if twice := [setting for setting in settings if settings.count(setting) > 1]:
            raise ValueError(f"points of a hull must differ in weights, step or temperature; got {twice[0]} twice")

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the first and second point of every coin. The first has at least the Mean@n of the second."""
        one, other = np.triu_indices(len(self.points))
        ordered = self._means[one] >= self._means[other]
        return np.where(ordered, one, other), np.where(ordered, other, one)

    @cached_property
    def _means(self) -> NDArray[np.float64]:
        return np.array([point.mean for point in self.points])

    @cached_property
    def _failures(self) -> NDArray[np.float64]:
        """``[pairs, k + 1]``; a pair of a point with itself has the point's own Pass@k at every weight."""
        first, second = self._pairs
        failures = all_pair_failures(self.points, self.k)[first, second]
        own = np.array([1 - point.pass_at(self.k) for point in self.points])
        same = first == second
        failures[same] = own[first[same], None]
        return failures

    @cached_property
    def _grid_pass(self) -> NDArray[np.float64]:
        return pass_on_grid(self._failures, self.k)

    @cached_property
    def _highest(self) -> NDArray[np.float64]:
        return np.asarray(self._grid_pass.max(axis=1))

    @cached_property
    def _grid_mean(self) -> NDArray[np.float64]:
        high, low = (self._means[places][:, None] for places in self._pairs)
        return high * GRID + low * (1 - GRID)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest Mean@n of the points."""
        return float(self._means.min()), float(self._means.max())

    def at_mean(self, mean: float) -> Coin | None:
        """The coin with the highest Pass@k among those with at least this Mean@n; ``None`` if there are none."""
        if mean > self.range[1] + TOLERANCE:
            return None
        high, low = (self._means[places] for places in self._pairs)
        on_grid = np.where(self._grid_mean >= mean - TOLERANCE, self._grid_pass, -1.0)
        pair, place = divmod(int(on_grid.argmax()), len(GRID))
        # Only these pairs can be better at the exact weight: between two weights of the grid, Pass@k changes little.
        near = self._highest >= on_grid[pair, place] - SLACK
        between = np.flatnonzero(near & (low <= mean) & (mean <= high) & (low < high))
        weights = (mean - low[between]) / (high[between] - low[between])
        at_exact = 1 - (bernstein(weights, self.k) * self._failures[between]).sum(axis=1)
        if at_exact.size and at_exact.max() >= on_grid[pair, place]:
            best = int(at_exact.argmax())
            return self._coin(int(between[best]), float(weights[best]))
        return self._coin(pair, float(GRID[place]))

    def at_pass(self, value: float) -> Coin | None:
        """The coin with the highest Mean@n among those with at least this Pass@k; ``None`` if there are none."""
        reached = self._grid_pass >= value - TOLERANCE
        if not reached.any():
            return None
        # The last weight of the grid that reaches the value, and the place after it where Pass@k equals the value.
        last = len(GRID) - 1 - reached[:, ::-1].argmax(axis=1)
        pairs, after = np.arange(len(last)), np.minimum(last + 1, len(GRID) - 1)
        above, below = self._grid_pass[pairs, last] - value, value - self._grid_pass[pairs, after]
        share = np.where(after > last, above / np.where(above + below > 0, above + below, 1.0), 0.0)
        means = (1 - share) * self._grid_mean[pairs, last] + share * self._grid_mean[pairs, after]
        pair = int(np.where(reached.any(axis=1), means, -1.0).argmax())
        return self._coin(pair, float(GRID[last[pair]])).at_pass(value, self.k)[0]

    def highest_mean(self) -> Coin:
        """The point with the highest Mean@n, and with the highest Pass@k among several."""
        best = max(self.points, key=lambda point: (point.mean, point.pass_at(self.k)))
        return Coin(first=best, second=best, weight=1.0)

    def highest_pass(self) -> Coin:
        """The coin with the highest Pass@k."""
        pair, place = divmod(int(self._grid_pass.argmax()), len(GRID))
        return self._coin(pair, float(GRID[place]))

    def _coin(self, pair: int, weight: float) -> Coin:
        first, second = (self.points[places[pair]] for places in self._pairs)
        return Coin(first=first, second=second, weight=1.0 if first is second else weight)
