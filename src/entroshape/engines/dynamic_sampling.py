"""DAPO's dynamic sampling: the choice of groups to keep, and of prompts that replace the others."""

from __future__ import annotations

import math
import random
import warnings

import torch
from torch import Tensor

from entroshape.engines.decisions import PREFIX


def chosen_groups(group: Tensor, informative: Tensor, wanted: int) -> tuple[Tensor, int]:
    """Row indices of ``wanted`` groups, mixed groups first, and the number of mixed groups among them."""
    signal = group[informative].unique()
    silent = group[~informative].unique()
    order = torch.cat([signal, silent])[:wanted]
    index = torch.cat([(group == one).nonzero()[:, 0] for one in order.tolist()])
    return index, min(len(signal), wanted)


def refill_indices(dataset_size: int, missing: int, group_size: int, ranks: int, limit: int, key: str) -> list[int]:
    """Draws rows of the train dataset that refill ``missing`` groups, the same on all ranks.

    The draw depends only on ``key`` (seed, step and round), so a resumed run draws the same refills. The number is
    rounded up so that it divides evenly among the ranks, and is at most ``limit``, the number of groups in a batch.
    """
    even = ranks // math.gcd(group_size, ranks)
    count = min(limit, math.ceil(missing / even) * even)
    draw = random.Random(key)
    if count <= dataset_size:
        return draw.sample(range(dataset_size), count)
    return draw.choices(range(dataset_size), k=count)


def warn_unfilled(max_refills: int) -> None:
    """Warns that one-outcome groups are left after ``max_refills`` rounds."""
    warnings.warn(
        f"after max_refills={max_refills} refills, a step still had one-outcome groups; they get no credit. "
        f"The metric {PREFIX}unfilled_groups counts them. Use other prompts or a larger max_refills to fill the batch.",
        stacklevel=3,
    )
