"""Comparison of tokens or completions: ``weight(x) = x / mean over the comparison set of x``.

The one idea of Dynamic Entropy Weighting (arXiv 2508.04349v6): every weight of the paper is a value over the mean of
the set it is compared with. ``d_t * H / sum H`` in Eq. 3 is ``H / mean H`` over the live siblings of column ``t``;
Eq. 5 has the same with ``1/H``, Eq. 9 with the mean entropy of a completion, Appendix C with the geometric mean. So the
mean weight of every set is 1 (arithmetic mean), or its mean log-weight is 0 (geometric mean).

Shapes: ``B`` completions, ``T`` token positions. Completions with equal ids in ``sets`` may be compared.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice
from entroshape.credit.sets import set_ids, set_sum, statistics_dtype

Axis = Literal["column", "row", "matrix"]
Mean = Literal["arithmetic", "geometric"]


@torch.no_grad()
def comparison_weights(
    values: Tensor, mask: Tensor, sets: Tensor, *, axis: Axis = "column", mean: Mean = "arithmetic"
) -> Tensor:
    """Token weights: each value over the mean of its comparison set.

    Args:
        values: ``[B, T]`` positive where ``mask`` is 1 (entropies in nats for successes, their inverse for failures);
            elsewhere never read.
        mask: ``[B, T]`` bool, the live tokens.
        sets: ``[B]`` integer ids; completions with equal ids are compared.
        axis: ``"column"``: the same position across the completions of a set (the paper's Eq. 3 and 5);
            ``"row"``: the positions of one completion; ``"matrix"``: all tokens of all completions of a set.
        mean: ``"arithmetic"`` (Eq. 3, 5) or ``"geometric"`` (Appendix C).

    Returns:
        ``[B, T]`` weights, 0 where ``mask`` is 0; float32, or float64 for float64 values. With the arithmetic mean they
        average to 1 over every set. Equal values have exactly the weight 1.

    Raises:
        ValueError: unknown ``axis`` or ``mean``.

    Example:
        >>> H = torch.tensor([[1.0, 2.0], [3.0, 9.0]])
        >>> comparison_weights(H, torch.tensor([[True, True], [True, False]]), torch.tensor([0, 0]))
        tensor([[0.5000, 1.0000],
                [1.5000, 0.0000]])
    """
    check_choice("axis", axis, get_args(Axis))
    check_choice("mean", mean, get_args(Mean))
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if mean == "arithmetic":
        x = torch.where(mask, values, 0.0)  # what is masked out may be NaN
        return x / _set_mean(x, mask, sets, axis)
    logs = torch.where(mask, values.log(), 0.0)
    return torch.where(mask, (logs - _set_mean(logs, mask, sets, axis)).exp(), 0.0)


def response_weights(values: Tensor, sets: Tensor, live: Tensor, *, mean: Mean = "arithmetic") -> Tensor:
    """Completion weights: the value of each completion over the mean of its set (Eq. 9).

    Args:
        values: ``[B]`` positive where ``live`` (the mean entropy of a completion in nats, or its inverse).
        sets: ``[B]`` integer ids; completions with equal ids are compared.
        live: ``[B]`` bool. A completion that is not live (without tokens, it has no entropy) is left out of the
            comparison and gets the neutral weight 1, so that the weights of a set still sum to its size.
        mean: ``"arithmetic"`` (Eq. 9) or ``"geometric"`` (Appendix C).

    Returns:
        ``[B]`` weights; float32, or float64 for float64 values.

    Raises:
        ValueError: unknown ``mean``.

    Example:
        >>> response_weights(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.bool))
        tensor([0.5000, 1.5000, 1.0000])
    """
    weights = comparison_weights(values[:, None], live[:, None], sets, axis="matrix", mean=mean)[:, 0]
    return torch.where(live, weights, 1.0)


def _set_mean(x: Tensor, mask: Tensor, sets: Tensor, axis: Axis) -> Tensor:
    """Mean of ``x`` (zero where masked) over each token's set, broadcastable to ``[B, T]``; 1 for an empty set."""
    wide = statistics_dtype(x)
    if axis == "column":
        # Float32 counts exactly up to 2^24 completions. On a CPU, a byte becomes a float 4 times as fast as a bool.
        total, size = x.to(wide), mask.view(torch.uint8).float()
    else:
        total, size = x.sum(dim=1, keepdim=True, dtype=wide), mask.sum(dim=1, keepdim=True, dtype=torch.int32)
    if axis != "row":
        ids, count = set_ids(sets)
        total, size = set_sum(total, ids, count), set_sum(size, ids, count)
    mean = torch.where(size > 0, total / size.clamp(min=1).to(wide), 1.0).to(x.dtype)
    return mean if axis == "row" else mean.index_select(0, ids)
