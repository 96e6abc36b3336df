"""Shaped rewards to advantages (Eq. 6 of arXiv 2508.04349v6): what is averaged over, and which sets are gated.

Shapes: ``B`` responses, ``T`` token positions. ``sets`` are ids of which responses share their statistics: the group
ids, or one id for the whole batch. Sequence-level methods call the same functions with ``T = 1``.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice
from entroshape.credit._blocks import by_rows, row_blocks, token_counts, zeroed
from entroshape.credit.comparison import set_ids, set_sum

Normalization = Literal["zero_filled", "joint", "within"]

STD_EPSILON = 1e-6
"""Added to every standard deviation, in units of the reward."""


def normalized_advantages(
    shaped: Tensor,
    mask: Tensor,
    success: Tensor,
    sets: Tensor,
    *,
    normalization: Normalization = "zero_filled",
) -> Tensor:
    """Advantages ``A = (r - mean R) / (std R + 1e-6)`` (Eq. 6), with the sample (Bessel) standard deviation.

    What ``R`` holds is the paper's ambiguity:

    * ``"zero_filled"``: ``R+`` and ``R-`` are whole matrices, ``r+ = 0`` on the tokens of failures and ``r- = 0`` on
      those of successes; each class is normalised with its own. For a constant shaped reward and a share ``p`` of
      success tokens this is GRPO's token-mean-baselined advantage, ``sqrt((1-p)/p)`` and ``-sqrt(p/(1-p))``.
    * ``"joint"``: one matrix ``r+ + r-``, one mean, one deviation (the form of the paper's Appendix B).
    * ``"within"``: ``R+`` holds the tokens of successes alone, ``R-`` those of failures. **Degenerate**: each class
      is centred on its own mean, so the outcome cancels and high-entropy tokens are pushed up in right and wrong
      responses alike.

    Args:
        shaped: ``[B, T]`` shaped rewards, ``r+`` in the rows of successes and ``r-`` in those of failures.
        mask: ``[B, T]`` bool, the live tokens; elsewhere ``shaped`` is never read.
        success: ``[B]`` bool.
        sets: ``[B]`` integer ids of the normalisation sets.
        normalization: one of the three above.

    Returns:
        ``[B, T]`` float32, 0 where ``mask`` is 0. A set whose rewards are all equal gives exactly 0.

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
    shaped = shaped.detach().float()
    ids, count = set_ids(sets)
    tokens = token_counts(mask)
    size = set_sum(tokens, ids, count)
    if normalization != "joint":
        size = size.repeat_interleave(2)
        ids, count = 2 * ids + success.long(), 2 * count
    own = set_sum(tokens, ids, count)
    if normalization == "within":
        size = own

    # Centred on one of its own members first: equal rewards then cancel exactly, instead of leaving rounding noise
    # that the division by a deviation of nearly zero would turn into an advantage.
    origin = _member(shaped, mask, ids, count)
    offset = by_rows(shaped, lambda rows: _centred(shaped, mask, origin[ids], rows).sum(dim=1))
    own_mean = origin + set_sum(offset, ids, count) / own.clamp(min=1)
    mean = own_mean * (own / size.clamp(min=1))
    squares = by_rows(shaped, lambda rows: _centred(shaped, mask, mean[ids], rows).square_().sum(dim=1))
    total = set_sum(squares, ids, count) + (size - own) * mean.square()
    std = (total / (size - 1).clamp(min=1)).sqrt()
    deviation = std[ids] + STD_EPSILON

    advantages = torch.empty_like(shaped)
    for rows in row_blocks(shaped):
        torch.div(_centred(shaped, mask, mean[ids], rows), deviation[rows, None], out=advantages[rows])
    return advantages


def _centred(shaped: Tensor, mask: Tensor, centre: Tensor, rows: slice) -> Tensor:
    """A block of rows, each less its ``centre`` ``[B]``; 0 outside the mask."""
    return zeroed(shaped[rows] - centre[rows, None], mask[rows])


def _member(shaped: Tensor, mask: Tensor, ids: Tensor, count: int) -> Tensor:
    """``[S]`` one live value of each set: the largest of its rows' first ones; 0 for a set without any."""
    chosen = shaped.new_full((count,), -torch.inf)
    if shaped.shape[1]:
        place = by_rows(mask, lambda rows: mask[rows].max(dim=1).indices)[:, None]
        first = torch.where(mask.gather(1, place), shaped.gather(1, place), -torch.inf)[:, 0]
        chosen.scatter_reduce_(0, ids, first, "amax")
    return torch.where(chosen > -torch.inf, chosen, 0.0)


def one_outcome(success: Tensor, live: Tensor, sets: Tensor) -> Tensor:
    """Which responses stand in a set that carries no outcome information: all right or all wrong.

    Normalising such a set would blow entropy noise up to unit variance, so a method with ``gate=True`` gives it
    advantage 0.

    Args:
        success: ``[B]`` bool.
        live: ``[B]`` bool: the responses that count. A set without any is of one outcome as well.
        sets: ``[B]`` integer ids of the sets.

    Returns:
        ``[B]`` bool, equal over each set.

    Example:
        >>> live = torch.ones(3, dtype=torch.bool)
        >>> one_outcome(torch.tensor([True, False, True]), live, torch.tensor([0, 0, 1])).tolist()
        [False, False, True]
    """
    ids, count = set_ids(sets)
    right = set_sum((success & live).long(), ids, count)
    total = set_sum(live.long(), ids, count)
    return ((right == 0) | (right == total))[ids]
