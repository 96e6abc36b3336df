"""GRPO-S's loss with the arithmetic sequence ratio (Eq. 10, 11), which TRL lacks, as a pure function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from entroshape.credit.surrogate import ClippedSurrogate


def loss_mask(inputs: Mapping[str, Any]) -> Tensor:
    """``[B, T]`` 0/1, the tokens that are included in the loss, TRL's or ours."""
    mask: Tensor = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


def sequence_loss(
    surrogate: ClippedSurrogate,
    logprobs: Tensor,
    entropies: Tensor,
    aux_loss: Tensor | None,
    inputs: Mapping[str, Any],
    *,
    aux_weight: float | None,
    gather: Callable[[Tensor], Tensor],
    add_up: Callable[[Tensor], Tensor],
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one micro-batch, and the metrics that TRL's own loss would log, under TRL's names.

    All micro-batches of an update have the same number of completions, so the mean of their losses is the loss of the
    update.

    Args:
        surrogate: the method's surrogate.
        logprobs: ``[B, T]`` log-probabilities under the policy being trained.
        entropies: ``[B, T]`` entropies of that policy in nats.
        aux_loss: the router's loss, if the model has a router.
        inputs: TRL's micro-batch: ``advantages`` ``[B]``, masks and, if present, ``old_per_token_logps`` ``[B, T]`` and
            ``importance_sampling_ratio`` (``[B, 1]`` or ``[B, T]``, between vLLM and the policy).
        aux_weight: weight of the router's loss; ``None`` without a router.
        gather: gathers a tensor from all ranks.
        add_up: sums a tensor over all ranks.
    """
    mask = loss_mask(inputs)
    advantages = inputs["advantages"]
    if "importance_sampling_ratio" in inputs:
        # The objective is linear in the advantage, so the completion's mean correction can scale it.
        correction = (inputs["importance_sampling_ratio"] * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        advantages = advantages * correction
    old_logprobs = inputs.get("old_per_token_logps", logprobs.detach())
    loss, diagnostics = surrogate(logprobs, old_logprobs, advantages, mask)
    metrics = _figures(diagnostics, entropies, mask, gather, add_up)
    if aux_loss is not None and aux_weight is not None:
        loss = loss + aux_weight * aux_loss
        metrics["aux_loss"] = gather(aux_loss.detach()).mean().item()
    return loss, metrics


@torch.no_grad()
def _figures(
    diagnostics: Mapping[str, Tensor],
    entropies: Tensor,
    mask: Tensor,
    gather: Callable[[Tensor], Tensor],
    add_up: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    low, high = gather(diagnostics["clip_low"]), gather(diagnostics["clip_high"])
    total, tokens = add_up(torch.stack([(entropies * mask).sum(), mask.sum().float()]))
    return {
        "clip_ratio/low_mean": low.mean().item(),
        "clip_ratio/high_mean": high.mean().item(),
        "clip_ratio/region_mean": (low + high).mean().item(),
        "clip_ratio/low_min": float(bool((low == 1).all())),
        "clip_ratio/high_max": float(bool((high > 0).any())),
        "entropy": (total / tokens.clamp(min=1)).item(),
    }
