"""Statistics of paired runs: means, standard errors, differences with intervals, and the number of seeds needed.

The unit of replication is the seed: one draw of prompts, their order and all samples, shared by all arms.
Shapes: ``n`` seeds. Needs only NumPy and SciPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
MAX_SEEDS = 100_000
"""A difference that needs more seeds is negligible in practice."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and spread of a quantity over seeds."""

    mean: float
    """Mean over seeds."""

    se: float | None
    """Standard error of the mean, ``sd / sqrt(n)``; ``None`` for one seed."""

    sd: float | None
    """Standard deviation over seeds (``n - 1``); ``None`` for one seed."""

    n: int
    """Number of seeds."""


@dataclass(frozen=True, kw_only=True)
class Difference(Spread):
    """A paired difference between two arms: the difference is taken for each seed."""

    low: float | None
    """Lower end of the 95 % interval (Student's t over seeds); ``None`` for one seed."""

    high: float | None
    """Upper end of the 95 % interval."""

    p: float | None
    """Two-sided p value of the paired t test; ``None`` for one seed, or if all differences are equal."""

    seeds_needed: int | None
    """Number of seeds that would detect a true difference of this size and spread with a probability of 80 %; ``None``
    if unknown or more than 100,000."""


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard error and standard deviation over seeds.

    Raises:
        ValueError: there are no values.

    Example:
        >>> spread([0.1, 0.3]).mean, round(spread([0.1, 0.3]).se, 3)
        (0.2, 0.1)
    """
    if not len(values):
        raise ValueError("values must have one number per seed; got none")
    array = np.asarray(values, dtype=np.float64)
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(
        mean=float(array.mean()), se=None if sd is None else float(sd / np.sqrt(len(array))), sd=sd, n=len(array)
    )


def reach(values: ArrayLike) -> NDArray[np.float64]:
    """Half the width of the 95 % interval of the mean over seeds (Student's t); 0 for one seed, which has none.

    Args:
        values: ``[n, ...]``, one row per seed.

    Returns:
        ``[...]``.

    Example:
        >>> round(float(reach([0.1, 0.3])), 3), float(reach([0.1]))
        (1.271, 0.0)
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n < 2:
        return np.zeros(array.shape[1:])
    return np.asarray(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * (array.std(axis=0, ddof=1) / np.sqrt(n)))


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """The difference to a baseline over the seeds that both have.

    Args:
        values: values by seed.
        baseline: values of the baseline by seed.

    Returns:
        The difference; ``None`` if no seed is in both.

    Example:
        >>> change = paired_difference({0: 0.25, 1: 0.5, 2: 0.75}, {0: 0.125, 1: 0.25, 2: 0.375, 7: 0.0})
        >>> change.mean, change.n, round(change.low, 3), round(change.high, 3)
        (0.25, 3, -0.061, 0.561)
    """
    shared = sorted(values.keys() & baseline.keys())
    if not shared:
        return None
    differences = [values[seed] - baseline[seed] for seed in shared]
    over_seeds = spread(differences)
    low = high = p = None
    if over_seeds.se is not None:
        half = float(reach(differences))
        low, high = over_seeds.mean - half, over_seeds.mean + half
        if over_seeds.se > 0:
            p = float(2 * stats.t.sf(abs(over_seeds.mean) / over_seeds.se, over_seeds.n - 1))
    return Difference(
        **vars(over_seeds),
        low=low,
        high=high,
        p=p,
        seeds_needed=seeds_needed(over_seeds.mean, over_seeds.sd) if over_seeds.sd is not None else None,
    )


def seeds_needed(difference: float, sd: float) -> int | None:
    """The smallest number of paired seeds with which a t test detects a true ``difference`` with a probability of 80 %.

    Uses the standard approximation ``n >= (t_{0.975, n-1} + t_{0.8, n-1})^2 sd^2 / difference^2``, at the 5 % level.

    Args:
        difference: the true mean difference.
        sd: standard deviation of the differences over seeds.

    Returns:
        At least 2; ``None`` if more than 100,000.

    Raises:
        ValueError: ``sd`` is negative.

    Example:
        >>> seeds_needed(0.02, 0.02), seeds_needed(0.02, 0.034), seeds_needed(0.0, 0.01)
        (10, 25, None)
    """
    if sd < 0:
        raise ValueError(f"sd must not be negative; got {sd!r}")
    if difference == 0:
        return None
    counts = np.unique(np.geomspace(2, MAX_SEEDS, 2000).astype(int))
    enough = counts[_shows(counts, difference, sd)]
    if not enough.size:
        return None
    below = counts[counts < enough[0]]
    start = int(below[-1]) + 1 if below.size else 2
    exact = np.arange(start, int(enough[0]) + 1)
    return int(exact[_shows(exact, difference, sd)][0])


def _shows(n: np.ndarray, difference: float, sd: float) -> np.ndarray:
    quantiles = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) + stats.t.ppf(POWER, n - 1)
    return np.sqrt(n) * abs(difference) >= quantiles * sd


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for multiple tests by Holm's step-down method.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[int(place)] = highest
    return adjusted
