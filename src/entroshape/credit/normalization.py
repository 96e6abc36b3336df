"""From shaped rewards to advantages (Eq. 6 of arXiv 2508.04349v6): normalisation sets, and which of them are gated.

Shapes: ``B`` completions, ``T`` token positions. Completions with equal ids in ``sets`` share their statistics; the ids
are those of the groups, or one for the whole batch. Sequence-level methods call the same functions with ``T = 1``.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice
from entroshape.credit._blocks import row_wise
from entroshape.credit.sets import set_extreme, set_ids, set_sum, statistics_dtype

Normalization = Literal["zero_filled", "joint", "within"]

STD_EPSILON = 1e-6
"""Added to every standard deviation, in units of the reward."""


@torch.no_grad()
def normalized_advantages(
    shaped: Tensor,
    mask: Tensor,
    success: Tensor,
    sets: Tensor,
    *,
    normalization: Normalization = "zero_filled",
) -> Tensor:
    """Advantages ``A = (r - mean R) / (std R + 1e-6)`` (Eq. 6), with the sample (Bessel) standard deviation.

    The paper is ambiguous about the contents of ``R``:

    * ``"zero_filled"``: ``R+`` and ``R-`` are whole matrices, ``r+ = 0`` on the tokens of failures and ``r- = 0`` on
      those of successes; each class is normalised with its matrix. For a constant shaped reward and a share ``p`` of
      success tokens this is GRPO's token-mean-baselined advantage, ``sqrt((1-p)/p)`` and ``-sqrt(p/(1-p))``.
    * ``"joint"``: one matrix ``r+ + r-``, one mean, one deviation (the form of the paper's Appendix B).
    * ``"within"``: ``R+`` has only the tokens of successes, ``R-`` only those of failures. **Degenerate**: each class
      is centred on its own mean, so the outcome cancels and high-entropy tokens are pushed up in successes and
      failures alike.

    Args:
        shaped: ``[B, T]`` shaped rewards, ``r+`` in the rows of successes and ``r-`` in those of failures, and 0 where
            ``mask`` is 0.
        mask: ``[B, T]`` bool, the live tokens.
        success: ``[B]`` bool.
        sets: ``[B]`` integer ids of the normalisation sets.
        normalization: one of the three above.

    Returns:
        ``[B, T]`` float32, 0 where ``mask`` is 0. If all rewards of a set are equal, its advantages are exactly 0.
        Statistics are computed in :func:`~entroshape.credit.sets.statistics_dtype`.

    Raises:
        ValueError: unknown ``normalization``.

    Example:
        >>> mask = torch.ones(4, 1, dtype=torch.bool)
        >>> right = torch.tensor([True, False, False, False])
        >>> r = torch.where(right, 1.0, -1.0)[:, None]
        >>> normalized_advantages(r, mask, right, torch.zeros(4, dtype=torch.long)).flatten()
        tensor([ 1.5000, -0.5000, -0.5000, -0.5000])
    """
    check_choice("normalization", normalization, get_args(Normalization))
    ids, count = set_ids(sets)
    tokens, means, squares = response_moments(shaped, mask)
    size = set_sum(tokens, ids, count)
    if normalization != "joint":
        ids, count, size = 2 * ids + success.long(), 2 * count, size.repeat_interleave(2)
    own, mean, squares = _pooled(tokens, means, squares, ids, count)
    if normalization == "zero_filled":  # R+ and R- have zeros for the tokens of the other class
        squares = squares + own * (size - own) / size.clamp(min=1) * mean.square()
        mean = mean * (own / size.clamp(min=1))
    else:
        size = own
    deviation = (squares / (size - 1).clamp(min=1)).sqrt() + STD_EPSILON
    return standardised(shaped, mask, mean[ids], deviation[ids])


@torch.no_grad()
def length_weighted_mean(values: Tensor, lengths: Tensor, sets: Tensor) -> Tensor:
    """``[B]`` means of each completion's set, in which every completion counts by its length.

    ``sum_k l_k x_k / sum_k l_k``, which is the mean over tokens of a value that all tokens of a completion share.

    Args:
        values: ``[B]`` values.
        lengths: ``[B]`` lengths in tokens.
        sets: ``[B]`` integer ids of the sets.

    Returns:
        ``[B]`` in :func:`~entroshape.credit.sets.statistics_dtype`; 0 for a set without tokens. The mean of equal
        values is exact.

    Example:
        >>> length_weighted_mean(torch.tensor([1.0, 0.0]), torch.tensor([1, 3]), torch.tensor([7, 7])).tolist()
        [0.25, 0.25]
    """
    ids, count = set_ids(sets)
    wide = statistics_dtype(values)
    own = values.to(wide)
    _, mean, _ = _pooled(lengths.to(wide), own, torch.zeros_like(own), ids, count)
    return mean[ids]


def without_advantage(advantages: Tensor, sets: Tensor) -> Tensor:
    """``[B]`` bool, the completions of sets in which all advantages ``[B]`` are 0."""
    ids, count = set_ids(sets)
    return set_sum(advantages.abs(), ids, count)[ids] == 0


@row_wise
def response_moments(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``[B]`` each, per completion: the number of tokens, their mean, and the sum of squared deviations from it.

    The mean is corrected by the mean deviation from its float32 value, so that the mean of equal values is exact and
    the sum of their squared deviations is 0. ``values`` are 0 where ``mask`` is 0.
    """
    wide = statistics_dtype(values)
    tokens = mask.sum(dim=1, dtype=torch.int32).to(wide)
    count = tokens.clamp(min=1)
    near = (values.sum(dim=1).to(wide) / count).to(values.dtype)
    deviations = torch.where(mask, values - near[:, None], 0.0)
    correction = deviations.sum(dim=1).to(wide) / count
    squares = deviations.square().sum(dim=1).to(wide) - tokens * correction.square()
    return tokens, near.to(wide) + correction, squares.clamp(min=0.0)


@row_wise
def standardised(values: Tensor, mask: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """``(values - mean) / deviation``, row by row, as float32; 0 outside the mask."""
    mean, deviation = (x.to(values.dtype)[:, None] for x in (mean, deviation))
    return torch.where(mask, (values - mean) / deviation, 0.0).float()


def _pooled(tokens: Tensor, means: Tensor, squares: Tensor, ids: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """``[S]`` each: :func:`response_moments` of all tokens of a set, from those of its completions ``[B]``.

    Values are first centred on one of the completions, so that equal values cancel exactly. Otherwise rounding noise,
    divided by a deviation of nearly zero, would become an advantage.
    """
    total = set_sum(tokens, ids, count)
    origin = set_extreme(means, tokens > 0, ids, count, "amin")
    offsets = torch.where(tokens > 0, means - origin[ids], 0.0)
    shift = set_sum(tokens * offsets, ids, count) / total.clamp(min=1)
    spread = set_sum(squares + tokens * (offsets - shift[ids]).square(), ids, count)
    return total, origin + shift, spread


def one_outcome(success: Tensor, live: Tensor, sets: Tensor) -> Tensor:
    """Marks completions in one-outcome sets, in which all succeeded or all failed.

    Normalising such a set would scale entropy noise to unit variance, so methods with ``gate=True`` give it advantage
    0.

    Args:
        success: ``[B]`` bool.
        live: ``[B]`` bool, the completions that count. A set without live completions is a one-outcome set too.
        sets: ``[B]`` integer ids of the sets.

    Returns:
        ``[B]`` bool, the same value for all completions of a set.

    Example:
        >>> live = torch.ones(3, dtype=torch.bool)
        >>> one_outcome(torch.tensor([True, False, True]), live, torch.tensor([0, 0, 1])).tolist()
        [False, False, True]
    """
    ids, count = set_ids(sets)
    right = set_sum((success & live).long(), ids, count)
    total = set_sum(live.long(), ids, count)
    return ((right == 0) | (right == total))[ids]
