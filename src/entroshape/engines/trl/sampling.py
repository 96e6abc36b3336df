"""DAPO's dynamic sampling: which groups carry a signal, and which prompts replace those that do not."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from entroshape.credit.normalization import one_outcome
from entroshape.engines.trl.rows import Rows, join_rows, take_rows


@dataclass(frozen=True, eq=False)
class SampledBatch:
    """Scored rollouts of all ranks, before any credit. ``B`` responses."""

    rows: Rows
    """Per-response tensors, each ``[B, ...]``."""

    rewards: Tensor
    """``[B]`` raw rewards; NaN where no reward function could tell."""

    rewards_per_function: Tensor
    """``[B, F]``."""

    group: Tensor
    """``[B]`` int64 ids."""

    prompts: Sequence[Any]
    completions: Sequence[Any]

    extra: Mapping[str, Sequence[Any]]
    """Columns that reward functions log beside the completions, ``B`` values each."""

    @property
    def mask(self) -> Tensor:
        """``[B, T]`` bool: a response's own tokens."""
        mask = self.rows["completion_mask"].bool()
        return mask & self.rows["tool_mask"].bool() if "tool_mask" in self.rows else mask

    def informative(self, success_threshold: float) -> Tensor:
        """``[B]`` bool: responses of groups with both outcomes.

        A response without a reward does not count, nor one without tokens (masked out because it was cut).
        """
        live = ~self.rewards.isnan() & self.mask.any(dim=1)
        return ~one_outcome(self.rewards > success_threshold, live, self.group)

    def chosen(self, index: Tensor, group_size: int, **how: Any) -> SampledBatch:
        """The rows at ``index``, whole groups one after the other, numbered anew; taken as :func:`take_rows` does."""
        picked = index.tolist()
        return SampledBatch(
            rows=take_rows(self.rows, index, **how),
            rewards=self.rewards[index],
            rewards_per_function=self.rewards_per_function[index],
            group=torch.arange(len(picked), device=index.device) // group_size,
            prompts=[self.prompts[i] for i in picked],
            completions=[self.completions[i] for i in picked],
            extra={name: [values[i] for i in picked] for name, values in self.extra.items()},
        )


def join_batches(batches: Sequence[SampledBatch], pad_token_id: int) -> SampledBatch:
    """Rounds one below the other, with group ids kept apart."""
    groups, offset = [], 0
    for batch in batches:
        groups.append(batch.group + offset)
        offset += int(batch.group.max()) + 1
    return SampledBatch(
        rows=join_rows([batch.rows for batch in batches], pad_token_id),
        rewards=torch.cat([batch.rewards for batch in batches]),
        rewards_per_function=torch.cat([batch.rewards_per_function for batch in batches]),
        group=torch.cat(groups),
        prompts=[prompt for batch in batches for prompt in batch.prompts],
        completions=[completion for batch in batches for completion in batch.completions],
        extra={
            name: [value for batch in batches for value in batch.extra.get(name, [None] * len(batch.group))]
            for name in sorted({name for batch in batches for name in batch.extra})
        },
    )


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
