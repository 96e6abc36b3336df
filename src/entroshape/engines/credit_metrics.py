"""Metrics of a step's credit, the same in all engines."""

from __future__ import annotations

import torch
from torch import Tensor

from entroshape.methods import Credit


def credit_metrics(credit: Credit, *, mask: Tensor, group: Tensor, entropies: Tensor | None) -> dict[str, float]:
    """Metrics of gating, entropy and the spread of the credit. Metrics over no tokens are left out.

    Args:
        credit: credit of ``B`` completions with ``T`` token positions.
        mask: ``[B, T]`` bool, the completions' own tokens.
        group: ``[B]`` integer ids of the prompts.
        entropies: ``[B, T]`` entropies of the sampling policy in nats, if they are known.

    Returns:
        ``gated_groups`` (their number); ``entropy``, ``entropy_success``, ``entropy_failure`` (means over tokens, in
        nats); ``negative_success_share`` and ``positive_failure_share`` (share of the ungated tokens of successes and
        failures that have credit against their outcome); ``shaped_spread`` (standard deviation of the shaped rewards
        within successes and within failures, averaged).
    """
    success = credit.success[:, None] & mask
    failure = ~credit.success[:, None] & mask
    credit = credit.per_token(mask)
    advantages, shaped = credit.advantages, credit.shaped_rewards
    metrics = {"gated_groups": float(group[credit.gated].unique().numel())}

    def add(name: str, value: Tensor, where: Tensor) -> None:
        if bool(where.any()):
            metrics[name] = value[where].float().mean().item()

    if entropies is not None:
        add("entropy", entropies, mask)
        add("entropy_success", entropies, success)
        add("entropy_failure", entropies, failure)
    add("negative_success_share", advantages < 0, success & ~credit.gated[:, None])
    add("positive_failure_share", advantages > 0, failure & ~credit.gated[:, None])
    spreads = [shaped[where].std() for where in (success, failure) if int(where.sum()) > 1]
    if spreads:
        metrics["shaped_spread"] = torch.stack(spreads).mean().item()
    return metrics


def sampling_metrics(
    rewards: Tensor, success: Tensor, tokens: Tensor | None = None, cut: Tensor | None = None
) -> dict[str, float]:
    """Metrics over all sampled completions, including those of replaced groups.

    Args:
        rewards: ``[B]`` raw rewards; NaN if a completion has none.
        success: ``[B]`` bool, :meth:`entroshape.Method.is_success` of the rewards.
        tokens: ``[B]`` number of tokens per completion, if known.
        cut: ``[B]`` bool, whether the length limit cut the completion, if known.

    Returns:
        ``responses`` (the number of completions), ``reward`` and ``success_rate`` (over completions with a reward, left
        out if there are none), ``completion_length`` (in tokens), ``share_cut``.
    """
    metrics = {"responses": float(len(rewards))}
    known = ~rewards.isnan()
    if bool(known.any()):
        metrics["reward"] = rewards[known].mean().item()
        metrics["success_rate"] = success[known].float().mean().item()
    if tokens is not None:
        metrics["completion_length"] = tokens.float().mean().item()
    if cut is not None:
        metrics["share_cut"] = cut.float().mean().item()
    return metrics
