"""DAPO's dynamic sampling: which groups are kept, and which prompts replace the others."""

from __future__ import annotations

import math
import random
import warnings

import torch
from torch import Tensor

from entroshape.engines.decisions import PREFIX


def chosen_groups(group: Tensor, informative: Tensor, wanted: int) -> tuple[Tensor, int]:
    """Row indices of ``wanted`` groups, informative ones first, and how many of the groups are informative."""
    signal = group[informative].unique()
    silent = group[~informative].unique()
    order = torch.cat([signal, silent])[:wanted]
    index = torch.cat([(group == one).nonzero()[:, 0] for one in order.tolist()])
    return index, min(len(signal), wanted)


def refill_indices(dataset_size: int, missing: int, group_size: int, ranks: int, limit: int, key: str) -> list[int]:
    """Which rows of the train dataset refill ``missing`` groups: the same on all ranks, and the same on a rerun.

    Drawn from ``key`` (seed, step and round) alone, so that a resumed run refills as the uninterrupted one did.
    The number is rounded up to what splits evenly over the ranks, and is at most ``limit``, the groups of a whole
    batch.
    """
    even = ranks // math.gcd(group_size, ranks)
    count = min(limit, math.ceil(missing / even) * even)
    draw = random.Random(key)
    if count <= dataset_size:
        return draw.sample(range(dataset_size), count)
    return draw.choices(range(dataset_size), k=count)


def warn_unfilled(max_refills: int) -> None:
    """Warn that groups with one outcome are left after ``max_refills`` rounds."""
    warnings.warn(
        f"after max_refills={max_refills} refills a step still had groups with one outcome; they get no credit. "
        f"The metric {PREFIX}unfilled_groups counts them. Other prompts, or a larger max_refills, would fill the "
        "batch.",
        stacklevel=3,
    )
