"""GRPO-S's loss with the arithmetic sequence ratio (Eq. 10, 11), which TRL does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from entroshape.engines.trl.trainer import ShapedGRPOTrainer


def sequence_surrogate_loss(trainer: ShapedGRPOTrainer, model: Any, inputs: dict[str, Any]) -> Tensor:
    """The method's surrogate for one micro-batch, scaled for accumulation, with TRL's clip metrics logged.

    Every micro-batch of a step has the same number of responses, so the mean of their means is the mean over all.
    """
    mask = loss_mask(inputs)
    logprobs, entropies, aux_loss = trainer._evaluate_tokens(model, inputs, compute_aux_loss=trainer.aux_loss_enabled)
    old_logprobs = inputs.get("old_per_token_logps", logprobs.detach())
    advantages = inputs["advantages"]
    if "importance_sampling_ratio" in inputs:
        # The objective is linear in the advantage, so a response's correction for the sampler's mismatch scales it.
        correction = (inputs["importance_sampling_ratio"] * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        advantages = advantages * correction
    loss, diagnostics = trainer.method.surrogate(logprobs, old_logprobs, advantages, mask)
    accumulation = trainer.current_gradient_accumulation_steps
    loss = loss / accumulation
    if aux_loss is not None:
        loss = loss + trainer.router_aux_loss_coef * aux_loss / accumulation
        trainer._metrics["train"]["aux_loss"].append(trainer.accelerator.gather(aux_loss.detach()).mean().item())
    _log_clipping(trainer, diagnostics, entropies, mask)
    return loss


def loss_mask(inputs: dict[str, Any]) -> Tensor:
    """``[B, T]`` 0/1: the tokens that TRL's losses, and ours, run over."""
    mask: Tensor = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


@torch.no_grad()
def _log_clipping(trainer: ShapedGRPOTrainer, diagnostics: dict[str, Tensor], entropies: Tensor, mask: Tensor) -> None:
    """The metrics that TRL's own loss logs, under TRL's names."""
    gather, metrics = trainer.accelerator.gather, trainer._metrics["train"]
    low, high = gather(diagnostics["clip_low"]), gather(diagnostics["clip_high"])
    metrics["clip_ratio/low_mean"].append(low.mean().item())
    metrics["clip_ratio/high_mean"].append(high.mean().item())
    metrics["clip_ratio/region_mean"].append((low + high).mean().item())
    metrics["clip_ratio/low_min"].append(float(bool((low == 1).all())))
    metrics["clip_ratio/high_max"].append(float(bool((high > 0).any())))
    totals = trainer.accelerator.reduce(torch.stack([(entropies * mask).sum(), mask.sum().float()]), reduction="sum")
    metrics["entropy"].append((totals[0] / totals[1].clamp(min=1)).item())
