"""Sums over sets of responses, in a precision that equal values survive.

Shapes: ``B`` responses, ``S`` sets. ``sets`` are arbitrary integer ids ``[B]``; ``ids`` are those renumbered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def statistics_dtype(like: Tensor) -> torch.dtype:
    """What sums and means are held in: float64, or float32 on Apple's GPUs, which have nothing wider.

    In float64 the sum of up to 2^29 equal float32 values is exact, so their mean is the value itself and a set of equal
    rewards has exactly the deviation 0, however many responses and tokens it has.
    """
    return torch.float32 if like.device.type == "mps" else torch.float64


def is_success(rewards: Tensor | Sequence[float], threshold: float) -> Tensor:
    """Which rewards are a success: those above the threshold.

    Args:
        rewards: raw rewards of any shape, before any punishment; compared in float32, as training holds them.
        threshold: a reward equal to it is a failure.

    Returns:
        A bool tensor of that shape.

    Example:
        >>> is_success([0.7, 0.8, 0.9], 0.8).tolist()
        [False, False, True]
    """
    return torch.as_tensor(rewards, dtype=torch.float32) > threshold


def set_ids(sets: Tensor) -> tuple[Tensor, int]:
    """Arbitrary ids ``[B]`` renumbered ``0 .. S-1``, and ``S``."""
    unique, inverse = torch.unique(sets, return_inverse=True)
    return inverse, unique.numel()


def outcome_sets(sets: Tensor, success: Tensor) -> Tensor:
    """``[B]`` ids of the sets with successes and failures apart."""
    return 2 * set_ids(sets)[0] + success.long()


def set_sum(values: Tensor, ids: Tensor, count: int) -> Tensor:
    """Sums of the rows ``[B, ...]`` of each of ``count`` sets: ``[S, ...]``. ``ids`` as from :func:`set_ids`."""
    out = values.new_zeros((count, *values.shape[1:]))
    return out.index_add_(0, ids, values)


def set_extreme(values: Tensor, counted: Tensor, ids: Tensor, count: int, which: str) -> Tensor:
    """``[S]`` the largest (``"amax"``) or smallest (``"amin"``) counted value of each set; 0 where none is."""
    missing = -torch.inf if which == "amax" else torch.inf
    out = values.new_full((count,), missing)
    out.scatter_reduce_(0, ids, torch.where(counted, values, missing), which)
    return torch.where(out == missing, 0.0, out)
