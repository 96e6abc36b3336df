"""The figures of a step's credit, the same in every engine."""

from __future__ import annotations

import torch
from torch import Tensor

from entroshape.methods import Credit


def credit_metrics(credit: Credit, *, mask: Tensor, group: Tensor, entropies: Tensor | None) -> dict[str, float]:
    """Who was gated, whose entropy is what, and how far the credit spreads; a figure over no tokens is left out.

    Args:
        credit: of ``B`` responses with ``T`` token positions.
        mask: ``[B, T]`` bool: a response's own tokens.
        group: ``[B]`` integer ids of the prompts.
        entropies: ``[B, T]`` nats, of the sampling policy, if they are known.

    Returns:
        ``gated_groups`` (how many), ``entropy``, ``entropy_success``, ``entropy_failure`` (nats, means over tokens),
        ``negative_success_share`` and ``positive_failure_share`` (of the ungated tokens of right and wrong responses,
        those with credit against their outcome), ``shaped_spread`` (standard deviation of the shaped rewards within
        successes and within failures, averaged).
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
    """Figures of everything that was sampled: what the policy does, not what it is trained on.

    Args:
        rewards: ``[B]`` raw rewards; NaN where there is none.
        success: ``[B]`` bool: :meth:`entroshape.Method.is_success` of the rewards.
        tokens: ``[B]`` how many tokens the policy wrote, where that is known.
        cut: ``[B]`` bool: whether the limit cut the completion, where that is known.

    Returns:
        ``responses``, ``reward`` and ``success_rate`` (over those with a reward; left out if there are none),
        ``completion_length`` (tokens), ``share_cut``.
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
