"""A step's rollouts: rows across ranks and rounds, the sampled batch, its refilling, and its credit.

Shapes: ``B`` completions, ``P`` prompt positions (padded on the left), ``T`` completion positions (padded on the
right). Each rank and each round pads to its own length; the functions here bring them to a common one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import pad

from entroshape.credit.normalization import one_outcome
from entroshape.engines.credit_metrics import sampling_metrics
from entroshape.engines.dynamic_sampling import chosen_groups, warn_unfilled
from entroshape.engines.step_record import StepRecord
from entroshape.methods import Credit, Method

Rows = dict[str, Tensor]

LEFT_PADDED = ("prompt_ids", "prompt_mask")


def gather_rows(accelerator: Accelerator, rows: Rows, pad_token_id: int) -> Rows:
    """Gathers the rows of all ranks, in rank order, on every rank: from ``[B_rank, ...]`` to ``[B, ...]``."""
    gathered = {}
    for name, value in sorted(rows.items()):  # all ranks must enter the same collectives in the same order
        if accelerator.num_processes > 1 and value.ndim > 1:
            value = accelerator.pad_across_processes(
                value, dim=1, pad_index=_padding(name, pad_token_id), pad_first=name in LEFT_PADDED
            )
        gathered[name] = accelerator.gather(value)
    return gathered


def rows_to_gather(output: Mapping[str, Any], needs: frozenset[str], *, every: bool) -> Rows:
    """Selects the tensors to gather: all per-row tensors of TRL's output if ``every``, else those that credit needs."""
    local = len(output["completion_ids"])
    wanted = {"completion_ids", "completion_mask", "tool_mask", "entropies", "sampled_tokens", "cut"}
    wanted |= {"old_per_token_logps", "sampled_logprobs"} if "logprobs" in needs else set()
    wanted = set(output) - {"advantages"} if every else wanted
    return {
        name: value
        for name, value in output.items()
        if name in wanted and isinstance(value, Tensor) and value.ndim and len(value) == local
    }


def join_rows(parts: Sequence[Rows], pad_token_id: int) -> Rows:
    """Concatenates the rows of several rounds, padded to the longest."""
    if len(parts) == 1:
        return parts[0]
    joined = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if values[0].ndim > 1:
            width = max(value.shape[1] for value in values)
            values = [_widened(value, width, name, pad_token_id) for value in values]
        joined[name] = torch.cat(values)
    return joined


def take_rows(rows: Rows, index: Tensor | slice, *, multiple: int = 1, cut_prompts: bool = True) -> Rows:
    """The rows at ``index``, without the columns that are padding in all of them.

    Args:
        rows: ``[B, ...]`` each.
        index: indices or a slice of rows.
        multiple: widths are rounded up to multiples of this (TRL's ``pad_to_multiple_of``), but never widened.
        cut_prompts: whether to remove the left padding of prompts, too.
    """
    chosen = {name: value[index] for name, value in rows.items()}
    used_left = _used(chosen["prompt_mask"].flip(1), multiple) if "prompt_mask" in chosen else 0
    used_right = _used(chosen["completion_mask"], multiple) if "completion_mask" in chosen else 0
    width = rows["completion_mask"].shape[1] if "completion_mask" in rows else -1
    for name, value in chosen.items():
        if name in LEFT_PADDED:
            chosen[name] = value[:, value.shape[1] - used_left :] if cut_prompts else value
        elif value.ndim > 1 and value.shape[1] == width:
            chosen[name] = value[:, :used_right]
    return chosen


def local_slice(accelerator: Accelerator, total: int) -> slice:
    """The rows of this rank among ``total`` gathered rows."""
    share = total // accelerator.num_processes
    return slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)


def _padding(name: str, pad_token_id: int) -> int:
    return pad_token_id if name in ("prompt_ids", "completion_ids") else 0


def _widened(value: Tensor, width: int, name: str, pad_token_id: int) -> Tensor:
    missing = width - value.shape[1]
    sides = (missing, 0) if name in LEFT_PADDED else (0, missing)
    return pad(value, sides, value=_padding(name, pad_token_id)) if missing else value


def _used(mask: Tensor, multiple: int) -> int:
    """Number of columns up to the last that holds a 1, rounded up to ``multiple``; at least 1, so none is empty."""
    columns = mask.bool().any(dim=0).nonzero()
    used = int(columns.max()) + 1 if columns.numel() else 1
    return min(math.ceil(used / multiple) * multiple, mask.shape[1])


@dataclass(frozen=True, eq=False)
class SampledBatch:
    """Scored rollouts of all ranks, before credit assignment. ``B`` completions."""

    rows: Rows
    """Per-completion tensors, each ``[B, ...]``."""

    rewards: Tensor
    """``[B]`` raw rewards; NaN where every reward function returned ``None``."""

    rewards_per_function: Tensor
    """``[B, F]``."""

    group: Tensor
    """``[B]`` int64 ids."""

    prompts: Sequence[Any]
    completions: Sequence[Any]
    extra: Mapping[str, Sequence[Any]]
    """Columns that reward functions log with ``log_extra``, ``B`` values each."""

    @property
    def mask(self) -> Tensor:
        """``[B, T]`` bool, the completions' own tokens."""
        mask = self.rows["completion_mask"].bool()
        return mask & self.rows["tool_mask"].bool() if "tool_mask" in self.rows else mask

    def informative(self, method: Method) -> Tensor:
        """``[B]`` bool: whether the completion's group is mixed.

        Completions without a reward or without tokens (masked because they were cut) are ignored.
        """
        live = ~self.rewards.isnan() & self.mask.any(dim=1)
        return ~one_outcome(method.is_success(self.rewards), live, self.group)

    @property
    def credit_inputs(self) -> dict[str, Tensor | None]:
        """The arguments of :func:`entroshape.engines.assignment.assign_known` for the rows of all ranks."""
        return {
            "rewards": self.rewards,
            "entropies": self.rows.get("entropies"),
            "mask": self.mask,
            "group": self.group,
            "logprobs": self.rows.get("old_per_token_logps", self.rows.get("sampled_logprobs")),
        }

    def record(self, credit: Credit, *, step: int, update: int) -> StepRecord:
        """The record of the step for logging and viewing."""
        return StepRecord(
            step=step,
            update=update,
            prompts=self.prompts,
            completions=self.completions,
            token_ids=self.rows["completion_ids"],
            mask=self.mask,
            group=self.group,
            rewards=self.rewards,
            entropies=self.rows.get("entropies"),
            credit=credit,
        )

    def chosen(self, index: Tensor, group_size: int, **how: Any) -> SampledBatch:
        """The rows at ``index``, which lists whole groups one after another. Groups are renumbered.

        The options ``how`` are those of :func:`take_rows`.
        """
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


def sampling_figures(rounds: Sequence[SampledBatch], method: Method) -> dict[str, float]:
    """Metrics over all sampled completions, including those of replaced groups."""
    rewards = torch.cat([batch.rewards for batch in rounds])
    tokens, cut = (torch.cat([batch.rows[name] for batch in rounds]) for name in ("sampled_tokens", "cut"))
    return sampling_metrics(rewards, method.is_success(rewards), tokens, cut)


def join_batches(batches: Sequence[SampledBatch], pad_token_id: int) -> SampledBatch:
    """Concatenates the batches of several rounds and gives their groups distinct ids."""
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


def sampled_batch(
    rows: Rows,
    rewards_per_function: Tensor,
    reward_weights: Tensor,
    group_size: int,
    *,
    prompts: Sequence[Any],
    completions: Sequence[Any],
    extra: Mapping[str, Sequence[Any]],
    prompts_may_differ: bool,
) -> SampledBatch:
    """Builds the batch of all ranks from gathered rows, in which the completions of a prompt are adjacent.

    Args:
        rows: gathered, ``[B, ...]`` each.
        rewards_per_function: ``[B, F]``; NaN where a reward function returned ``None``.
        reward_weights: ``[F]``.
        group_size: completions per prompt.
        prompts: as in :class:`SampledBatch`.
        completions: as in :class:`SampledBatch`.
        extra: as in :class:`SampledBatch`.
        prompts_may_differ: whether prompts may differ within a group, which environments can cause.

    Raises:
        RuntimeError: prompts differ within a group.
        ValueError: an extra column does not have one value per completion.
    """
    total = len(rewards_per_function)
    if not prompts_may_differ and any(prompt != prompts[i - i % group_size] for i, prompt in enumerate(prompts)):
        raise RuntimeError("TRL no longer keeps the completions of a prompt adjacent; groups cannot be told apart")
    for name, values in extra.items():
        if len(values) != total:
            raise ValueError(f"log_extra({name!r}, ...) must get one value per completion, {total}; got {len(values)}")
    weighted = rewards_per_function * reward_weights.to(rewards_per_function.device)
    return SampledBatch(
        rows=rows,
        rewards=torch.where(rewards_per_function.isnan().all(dim=1), torch.nan, weighted.nansum(dim=1)),
        rewards_per_function=rewards_per_function,
        group=torch.arange(total, device=rewards_per_function.device) // group_size,
        prompts=prompts,
        completions=completions,
        extra=extra,
    )


def refilled(
    first: SampledBatch,
    sample: Callable[[int, int], SampledBatch],
    method: Method,
    *,
    group_size: int,
    max_refills: int,
    pad_token_id: int,
    **how: Any,
) -> tuple[list[SampledBatch], SampledBatch, int]:
    """DAPO's dynamic sampling: replaces one-outcome groups by groups of fresh prompts, in lockstep on all ranks.

    Args:
        first: the batch that the step sampled. The result has the same number of groups.
        sample: ``sample(missing, round)`` returns at least one group of fresh prompts.
        method: defines success.
        group_size: completions per prompt.
        max_refills: maximum number of rounds after the first.
        pad_token_id: the tokenizer's padding token.
        **how: options of :func:`take_rows`.

    Returns:
        All rounds, the batch to train on, and the number of its groups that still have one outcome. If there are any,
        a warning is issued.
    """
    rounds, pool = [first], first
    wanted = int(first.group.max()) + 1
    while True:
        index, found = chosen_groups(pool.group, pool.informative(method), wanted)
        if found == wanted or len(rounds) > max_refills:
            break
        rounds.append(sample(wanted - found, len(rounds)))
        pool = join_batches([pool, rounds[-1]], pad_token_id)
    if found < wanted:
        warn_unfilled(max_refills)
    return rounds, pool.chosen(index, group_size, **how) if len(rounds) > 1 else pool, wanted - found
