"""Policy losses for verl: :func:`entroshape.credit.surrogate.clipped_surrogate` with verl's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from torch import Tensor
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, register_policy_loss

from entroshape.credit.surrogate import Ratio, clipped_surrogate
from entroshape.engines.verl.options import AGGREGATIONS, loss_mode

PolicyLoss = Callable[..., tuple[Tensor, dict[str, float]]]


def policy_loss(ratio: Ratio) -> PolicyLoss:
    """The loss with this importance ratio: see :func:`entroshape.credit.surrogate.importance_ratio`."""

    def loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss of a micro-batch and its diagnostics; all tensors are ``[B, T]``.

        Summed over the micro-batches of a mini-batch and averaged over ranks, it is the loss of the mini-batch.

        Raises:
            ValueError: no method uses this ``loss_agg_mode``.
        """
        total, diagnostics = clipped_surrogate(
            log_prob,
            old_log_prob,
            # The objective is linear in the weight, which is not negative, so the advantage can absorb it.
            advantages if rollout_is_weights is None else advantages * rollout_is_weights,
            response_mask,
            ratio=ratio,
            epsilon_low=config.clip_ratio_low,
            epsilon_high=config.clip_ratio_high,
            aggregation=_aggregation(loss_agg_mode),
            normalizer=_normalizer(loss_agg_mode, response_mask, config.global_batch_info),
        )
        low, high = diagnostics["clip_low"].item(), diagnostics["clip_high"].item()
        return total, {
            "actor/pg_clipfrac": low + high,
            "actor/pg_clipfrac_lower": low,
            "actor/ppo_kl": diagnostics["approx_kl"].item(),
            "actor/ratio_mean": diagnostics["ratio_mean"].item(),
        }

    return loss


def _aggregation(mode: str) -> Any:
    for ours, theirs in AGGREGATIONS.items():
        if theirs == mode:
            return ours
    raise ValueError(f"loss_agg_mode must be one of {', '.join(AGGREGATIONS.values())}; got {mode!r}")


def _normalizer(mode: str, mask: Tensor, info: dict[str, Any]) -> float | Tensor:
    """The divisor of this rank's sum: the count of the whole mini-batch over the number of ranks, which verl averages.

    If verl gives no count, it is that of the micro-batch, where rows without tokens do not count.
    """
    count = info.get("batch_num_tokens" if mode == "token-mean" else "global_batch_size")
    if count is None:
        count = mask.sum() if mode == "token-mean" else mask.any(dim=1).sum()
        return count.clamp(min=1)
    # A mini-batch may have no tokens in the loss, for example if all rows are padding. Its loss is 0.
    return max(count, 1) / info.get("dp_size", 1)


def register_losses() -> None:
    """Registers one loss per importance ratio with verl.

    Raises:
        RuntimeError: verl already has a loss with one of these names.
    """
    for ratio in get_args(Ratio):
        name = loss_mode(ratio)
        if name in POLICY_LOSS_REGISTRY:
            raise RuntimeError(f"verl already has a policy loss named {name!r}; entroshape would replace it")
        register_policy_loss(name)(policy_loss(ratio))


register_losses()
