"""What a step leaves for people to look at: its rollouts with their credit, and the metrics of the credit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from entroshape.methods import Credit


@dataclass(frozen=True, eq=False)
class StepRecord:
    """The rollouts of one step, of all ranks, as they were trained on. ``B`` responses, ``T`` token positions."""

    step: int
    """The optimizer step before which they were sampled (TRL's ``global_step``)."""

    prompts: Sequence[Any]
    """``B`` prompts, as in the dataset."""

    completions: Sequence[Any]
    """``B`` completions: text, or messages for conversational prompts."""

    token_ids: Tensor
    """``[B, T]`` completion tokens."""

    mask: Tensor
    """``[B, T]`` bool: a response's own tokens."""

    group: Tensor
    """``[B]`` ids of the prompts within the step."""

    rewards: Tensor
    """``[B]`` raw rewards; NaN where no reward function could tell."""

    entropies: Tensor | None
    """``[B, T]`` nats, of the sampling policy; ``None`` where the method needs none and none came for free."""

    credit: Credit
    """What the method made of them."""


def credit_metrics(record: StepRecord) -> dict[str, float]:
    """The credit's figures of a step; a figure over no tokens at all is left out."""
    credit, mask = record.credit, record.mask
    success = credit.success[:, None] & mask
    failure = ~credit.success[:, None] & mask
    advantages = credit.advantages if credit.advantages.ndim == 2 else credit.advantages[:, None].expand_as(mask)
    shaped = (
        credit.shaped_rewards if credit.shaped_rewards.ndim == 2 else credit.shaped_rewards[:, None].expand_as(mask)
    )
    metrics = {"gated_groups": float(record.group[credit.gated].unique().numel())}

    def add(name: str, value: Tensor, where: Tensor) -> None:
        if bool(where.any()):
            metrics[name] = value[where].float().mean().item()

    if record.entropies is not None:
        add("entropy", record.entropies, mask)
        add("entropy_success", record.entropies, success)
        add("entropy_failure", record.entropies, failure)
    add("negative_success_share", advantages < 0, success & ~credit.gated[:, None])
    add("positive_failure_share", advantages > 0, failure & ~credit.gated[:, None])
    spreads = [shaped[where].std() for where in (success, failure) if int(where.sum()) > 1]
    if spreads:
        metrics["shaped_spread"] = torch.stack(spreads).mean().item()
    return metrics
