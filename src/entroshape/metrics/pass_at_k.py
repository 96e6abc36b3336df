"""Pass@k, Mean@k, majority@n and their bootstrap intervals, from the number of successes per problem.

Shapes: ``P`` problems, ``...`` any further dimensions. Needs only NumPy, so that reports can be made without an engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entroshape.checks import check_integer

MAX_COUNTS = 2**22
"""Largest block of resampling counts that is held at a time, in elements: 32 MB of float64."""


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Any:
    r"""The unbiased estimate of the probability that at least one of ``k`` samples succeeds, from ``n >= k`` samples.

    :math:`\text{Pass@}k = 1 - \binom{n - c}{k} / \binom{n}{k}` (Chen et al. 2021, arXiv 2107.03374, Eq. 1), computed as
    :math:`1 - \prod_{i=n-c+1}^{n} (1 - k / i)`, which needs no large binomials. With ``k = 1`` it is the share of
    successes ``c / n``.

    Args:
        n: number of completions per problem; broadcasts with ``c`` and ``k``.
        c: number of successes among them.
        k: number of tries.

    Returns:
        A value between 0 and 1: a float for three plain numbers, otherwise an array of the broadcast shape.

    Raises:
        ValueError: the arguments are not integers with ``0 <= c <= n`` and ``1 <= k <= n``.

    Example:
        >>> pass_at_k(16, 1, 4)
        0.25
        >>> pass_at_k(4, [0, 1, 2, 4], 2).round(4).tolist()
        [0.0, 0.5, 0.8333, 1.0]
    """
    counts = [_integers(name, value) for name, value in (("n", n), ("c", c), ("k", k))]
    samples, successes, tries = np.broadcast_arrays(*counts)
    _require("c", "0 <= c <= n", successes, (successes >= 0) & (successes <= samples), samples)
    _require("k", "1 <= k <= n", tries, (tries >= 1) & (tries <= samples), samples)
    failure = np.ones(samples.shape)
    for i in range(int(successes.max(initial=0))):
        # The i-th factor belongs to problems with more than i successes. If n - i < k, at least one try must succeed.
        factor = 1 - tries / np.maximum(samples - i, tries)
        failure *= np.where(successes > i, factor, 1.0)
    value = 1 - failure
    return value if value.ndim else float(value)


def mean_at_k(successes: ArrayLike) -> Any:
    """Mean@k: the share of successes among the ``k`` completions of a problem; the same quantity as Pass@1.

    Args:
        successes: ``[..., k]`` 0/1 or boolean outcomes (or graded rewards), one per completion.

    Returns:
        ``[...]``; a float if ``successes`` has one dimension.

    Raises:
        ValueError: there are no completions, or values are not finite.

    Example:
        >>> mean_at_k([True, False, False, True])
        0.5
    """
    values = _finite("successes", successes)
    if not values.ndim or not values.shape[-1]:
        raise ValueError(f"successes must be [..., k] with k of at least 1; got {list(values.shape)}")
    mean = values.mean(axis=-1)
    return mean if mean.ndim else float(mean)


def majority_at_n(answers: Sequence[str | None], successes: Sequence[bool | float]) -> float:
    """Whether the most frequent final answer to a problem is correct: self-consistency (Wang et al. 2022, 2203.11171).

    If several answers are equally frequent, one of them is drawn uniformly, and the value is the exact expectation over
    the draw. Completions without final answer do not vote. Without any vote, the value is 0.

    Args:
        answers: the final answer of each completion, as equal strings for equal answers; ``None`` or empty if it has
            none.
        successes: whether each answer is correct. If the verdicts on one answer differ, their mean is used.

    Returns:
        A value in ``[0, 1]``, which is a fraction only if there are ties.

    Raises:
        ValueError: there are no completions, or ``answers`` and ``successes`` have different lengths.

    Example:
        >>> majority_at_n(["4", "5", "4", None], [True, False, True, False])
        1.0
        >>> majority_at_n(["4", "5", "6"], [True, False, False])
        0.3333333333333333
    """
    if len(answers) != len(successes) or not len(answers):
        raise ValueError(
            f"answers and successes must be of one length, at least 1; got {len(answers)} and {len(successes)}"
        )
    verdicts: dict[str, list[float]] = {}
    for answer, success in zip(answers, successes, strict=True):
        if answer:
            verdicts.setdefault(answer, []).append(float(success))
    most = max(map(len, verdicts.values()), default=0)
    winners = [sum(votes) / most for votes in verdicts.values() if len(votes) == most]
    return sum(winners) / len(winners) if winners else 0.0


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Any, Any]:
    """Percentile bootstrap interval of the mean over problems (Efron 1979).

    Problems are drawn with replacement, each with all of its completions. All columns of ``values`` use the same draws.

    Args:
        values: ``[P]`` or ``[P, ...]``, one estimate per problem, such as its Pass@k.
        level: confidence level, in ``(0, 1)``.
        resamples: number of bootstrap resamples.
        seed: random seed of the draws.

    Returns:
        The lower and the upper end: floats for ``[P]``, otherwise arrays of the remaining shape.

    Raises:
        ValueError: there are no problems, values are not finite, or the level or the number of resamples is out of
            range.

    Example:
        >>> low, high = bootstrap_interval([0.0, 1.0] * 50)
        >>> round(low, 1), round(high, 1)
        (0.4, 0.6)
    """
    data = _finite("values", values)
    if not data.ndim or not len(data):
        raise ValueError(f"values must be [P, ...] with at least one problem; got {list(data.shape)}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1); got {level!r}")
    check_integer("resamples", resamples, minimum=1)
    problems = len(data)
    generator, flat = np.random.default_rng(seed), data.reshape(problems, -1)
    block = max(1, MAX_COUNTS // problems)
    means = [
        # The number of draws of each problem is all that the mean of a resample depends on.
        generator.multinomial(problems, np.full(problems, 1 / problems), size=min(block, resamples - start)) @ flat
        for start in range(0, resamples, block)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means) / problems, [tail, 1 - tail], axis=0)
    if data.ndim == 1:
        return float(low[0]), float(high[0])
    return low.reshape(data.shape[1:]), high.reshape(data.shape[1:])


def _integers(name: str, value: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers; got {value!r} of {array.dtype}")
    return array.astype(np.int64)


def _require(name: str, expected: str, values: NDArray, holds: NDArray, samples: NDArray) -> None:
    if not holds.all():
        i = np.unravel_index(np.argmin(holds), holds.shape)
        raise ValueError(f"{name} must satisfy {expected}; got {name}={values[i]} with n={samples[i]}")


def _finite(name: str, value: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers; got {array.dtype}")
    array = array.astype(np.float64)
    wrong = ~np.isfinite(array)
    if wrong.any():
        first = array[wrong].flat[0]
        raise ValueError(f"{name} must be finite; got {'nan' if math.isnan(first) else first} among {array.size}")
    return array
