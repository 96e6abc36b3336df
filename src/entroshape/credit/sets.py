"""Sums over sets of completions, in a precision in which the mean of equal values is exact.

Shapes: ``B`` completions, ``S`` sets. ``sets`` are arbitrary integer ids ``[B]``; ``ids`` are the renumbered ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def statistics_dtype(like: Tensor) -> torch.dtype:
    """The dtype of sums and means: float64, or float32 on Apple's GPUs, which do not support float64.

    In float64, the sum of up to 2^29 equal float32 values is exact. So their mean is the value itself, and a set of
    equal rewards has exactly the deviation 0.
    """
    return torch.float32 if like.device.type == "mps" else torch.float64


def is_success(rewards: Tensor | Sequence[float], threshold: float) -> Tensor:
    """Whether rewards are successes, that is, above the threshold.

    Args:
        rewards: raw rewards of any shape, before any punishment. They are compared in float32, as in training.
        threshold: a reward equal to it is a failure.

    Returns:
        A bool tensor of the same shape.

    Example:
        >>> is_success([0.7, 0.8, 0.9], 0.8).tolist()
        [False, False, True]
    """
    return torch.as_tensor(rewards, dtype=torch.float32) > threshold


def set_ids(sets: Tensor) -> tuple[Tensor, int]:
    """Renumbers arbitrary ids ``[B]`` to ``0 .. S-1``, and returns them with ``S``.

    Ids that are already in ``0 .. B-1`` are kept, so some of the ``S`` sets may be empty. Sorting them would take
    longer than the sums of a small matrix.
    """
    if sets.numel():
        smallest, largest = (int(end) for end in torch.aminmax(sets))
        if smallest >= 0 and largest < len(sets):
            return sets.long(), largest + 1
    unique, inverse = torch.unique(sets, return_inverse=True)
    return inverse, unique.numel()


def outcome_sets(sets: Tensor, success: Tensor) -> Tensor:
    """``[B]`` ids in which the successes and the failures of a set are different sets."""
    return 2 * set_ids(sets)[0] + success.long()


def set_sum(values: Tensor, ids: Tensor, count: int) -> Tensor:
    """``[S, ...]`` sums of rows ``[B, ...]`` over each of ``count`` sets, with ``ids`` from :func:`set_ids`."""
    out = values.new_zeros((count, *values.shape[1:]))
    return out.index_add_(0, ids, values)


def set_extreme(values: Tensor, counted: Tensor, ids: Tensor, count: int, which: str) -> Tensor:
    """``[S]`` largest (``"amax"``) or smallest (``"amin"``) counted value of each set; 0 if there is none."""
    missing = -torch.inf if which == "amax" else torch.inf
    out = values.new_full((count,), missing)
    out.scatter_reduce_(0, ids, torch.where(counted, values, missing), which)
    return torch.where(out == missing, 0.0, out)
