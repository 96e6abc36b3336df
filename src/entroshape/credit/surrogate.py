"""Clipped policy-gradient objectives: importance ratios, clipping, and the aggregation of tokens to a loss.

Shapes: ``B`` completions, ``T`` token positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice, check_number
from entroshape.credit.bounds import MAX_EPSILON, MAX_REWARD, NORMALIZERS

Ratio = Literal["token", "sequence_arithmetic", "sequence_geometric"]
Aggregation = Literal["token_mean", "sequence_mean", "constant"]

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to this. Beyond it, overflow of the ratio would make the gradient of a clipped token NaN."""


def importance_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, *, ratio: Ratio = "token") -> Tensor:
    """Importance ratio ``pi_theta / pi_old`` of each token or of each completion.

    ``"token"``: ``w_t`` (Eq. 7 of arXiv 2508.04349v6). ``"sequence_arithmetic"``: ``mean_t w_t`` (Eq. 11).
    ``"sequence_geometric"``: ``(prod_t w_t)^(1/|o|)`` (Appendix C; GSPO's ratio, arXiv 2507.18071).

    Args:
        logprobs: ``[B, T]`` log-probabilities, in nats, under the policy being trained. Gradients flow through it.
        old_logprobs: ``[B, T]`` log-probabilities under the sampling policy, without gradient.
        mask: ``[B, T]`` 0/1 or bool; elsewhere the log-probabilities are never read.
        ratio: one of the three.

    Returns:
        ``[B, T]`` for ``"token"`` (1 outside the mask), ``[B, 1]`` for the sequence ratios (1 for an empty completion).

    Raises:
        ValueError: ``ratio`` is unknown.

    Example:
        >>> old = torch.zeros(1, 2); new = torch.tensor([[0.5, 1.5]]).log()
        >>> importance_ratio(new, old, torch.ones(1, 2), ratio="sequence_arithmetic")
        tensor([[1.]])
    """
    check_choice("ratio", ratio, get_args(Ratio))
    mask = mask.bool()
    log_ratio = _log_ratio(logprobs, old_logprobs, mask)
    if ratio == "token":
        return log_ratio.exp()
    tokens = mask.sum(dim=1, keepdim=True)
    if ratio == "sequence_geometric":
        return (log_ratio.sum(dim=1, keepdim=True) / tokens.clamp(min=1)).exp()
    total = torch.where(mask, log_ratio.exp(), 0.0).sum(dim=1, keepdim=True)
    return torch.where(tokens > 0, total / tokens.clamp(min=1), 1.0)


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    ratio: Ratio = "token",
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    aggregation: Aggregation = "token_mean",
    normalizer: float | Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The PPO-clipped surrogate as a loss to minimise.

    The negative of the mean of ``min(w A, clip(w, 1 - epsilon_low, 1 + epsilon_high) A)``. With ``ratio="token"``
    and ``"token_mean"`` this is Eq. 7 of arXiv 2508.04349v6 (and DAPO's objective); with ``"sequence_arithmetic"``
    and ``"sequence_mean"`` Eq. 10; with ``"token"`` and ``"sequence_mean"`` GRPO's.

    Args:
        logprobs: ``[B, T]`` log-probabilities, in nats, under the policy being trained. Gradients flow only through
            these.
        old_logprobs: ``[B, T]`` log-probabilities under the sampling policy, without gradient.
        advantages: ``[B, T]`` or ``[B]``, without gradient.
        mask: ``[B, T]`` 0/1 or bool, the tokens that the loss includes. Elsewhere nothing is read.
        ratio: see :func:`importance_ratio`. A sequence ratio is used for all tokens of its completion.
        epsilon_low: the ratio is clipped below at ``1 - epsilon_low``.
        epsilon_high: the ratio is clipped above at ``1 + epsilon_high``.
        aggregation: ``"token_mean"``: the mean over all tokens. ``"sequence_mean"``: the mean over the tokens of each
            completion, then over the ``B`` completions. ``"constant"``: the sum over all tokens, divided by
            ``normalizer`` (Dr. GRPO, arXiv 2503.20783: completions times the maximum length).
        normalizer: divisor of the sum if the call gets only a part of the batch: the number of tokens
            (``"token_mean"``) or completions (``"sequence_mean"``) of the whole batch. The losses of the parts then add
            up to the loss of the batch.

    Returns:
        The loss, a scalar in the log-probabilities' dtype (at least float32), and detached diagnostics: ``clip_low``
        and ``clip_high`` (share of tokens, or of completions for sequence ratios, with a clipped gradient),
        ``ratio_mean``, ``ratio_min``, ``ratio_max``, and ``approx_kl`` (nats per token; the estimator ``exp(d) - 1 -
        d`` with ``d`` the log-ratio).

    Raises:
        ValueError: shapes do not align; an option is unknown or out of range; ``"constant"`` has no ``normalizer``; old
            log-probabilities or advantages are not finite; or float16 log-probabilities require a gradient, which would
            overflow.

    Example:
        >>> old = torch.zeros(1, 2); new = torch.zeros(1, 2, requires_grad=True)
        >>> loss, stats = clipped_surrogate(new, old, torch.tensor([2.0]), torch.ones(1, 2))
        >>> loss.item(), stats["ratio_mean"].item()
        (-2.0, 1.0)
    """
    check_choice("aggregation", aggregation, get_args(Aggregation))
    check_number("epsilon_low", epsilon_low, minimum=0.0, maximum=1.0, exclusive=True)
    check_number("epsilon_high", epsilon_high, minimum=0.0, maximum=MAX_EPSILON, exclusive=True)
    if aggregation == "constant" and normalizer is None:
        raise ValueError(
            "aggregation='constant' needs normalizer: the constant that the summed loss is divided by; got None"
        )
    _check_shapes(logprobs, old_logprobs, advantages, mask)
    mask = mask.bool()
    _check_values(logprobs, old_logprobs, advantages, mask, normalizer)

    weight = importance_ratio(logprobs, old_logprobs, mask, ratio=ratio)
    advantages = advantages.detach().to(weight.dtype)
    advantages = torch.where(mask, advantages if advantages.ndim == 2 else advantages[:, None], 0.0)
    clipped = weight.clamp(1 - epsilon_low, 1 + epsilon_high)
    objective = torch.minimum(weight * advantages, clipped * advantages)

    if aggregation == "sequence_mean":
        objective = objective.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    if normalizer is None:
        normalizer = mask.sum().clamp(min=1) if aggregation == "token_mean" else max(len(mask), 1)
    loss = -objective.sum() / normalizer
    with torch.no_grad():
        diagnostics = _diagnostics(
            weight.detach(),
            _log_ratio(logprobs, old_logprobs, mask),
            advantages,
            mask,
            epsilon_low,
            epsilon_high,
        )
    return loss, diagnostics


@dataclass(frozen=True, kw_only=True)
class ClippedSurrogate:
    """The options of :func:`clipped_surrogate` that belong to a method; this is its training objective.

    Example:
        >>> objective = ClippedSurrogate(ratio="token", aggregation="sequence_mean")
        >>> zeros = torch.zeros(2, 3)
        >>> objective(zeros, zeros, torch.tensor([1.0, -1.0]), torch.ones(2, 3))[0].item()
        -0.0
    """

    ratio: Ratio = "token"
    """The importance ratio that is clipped; see :func:`importance_ratio`."""

    epsilon_low: float = 0.2
    """The ratio is clipped below at ``1 - epsilon_low``."""

    epsilon_high: float = 0.28
    """The ratio is clipped above at ``1 + epsilon_high``."""

    aggregation: Aggregation = "token_mean"
    """Aggregation of tokens; see :func:`clipped_surrogate`."""

    def __post_init__(self) -> None:
        check_choice("ratio", self.ratio, get_args(Ratio))
        check_choice("aggregation", self.aggregation, get_args(Aggregation))
        check_number("epsilon_low", self.epsilon_low, minimum=0.0, maximum=1.0, exclusive=True)
        check_number("epsilon_high", self.epsilon_high, minimum=0.0, maximum=MAX_EPSILON, exclusive=True)

    def __call__(
        self,
        logprobs: Tensor,
        old_logprobs: Tensor,
        advantages: Tensor,
        mask: Tensor,
        *,
        normalizer: float | Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and diagnostics: :func:`clipped_surrogate` with these options."""
        return clipped_surrogate(
            logprobs,
            old_logprobs,
            advantages,
            mask,
            ratio=self.ratio,
            epsilon_low=self.epsilon_low,
            epsilon_high=self.epsilon_high,
            aggregation=self.aggregation,
            normalizer=normalizer,
        )


def _log_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Log-ratio in at least float32, 0 (and without gradient) outside the mask."""
    dtype = torch.promote_types(logprobs.dtype, torch.float32)
    difference = logprobs.to(dtype) - old_logprobs.detach().to(dtype)
    return torch.where(mask, difference, 0.0).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def _check_shapes(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor) -> None:
    if logprobs.ndim != 2:
        raise ValueError(f"logprobs must have shape [B, T], got {list(logprobs.shape)}")
    shape = list(logprobs.shape)
    for name, value, allowed in [
        ("old_logprobs", old_logprobs, [shape]),
        ("mask", mask, [shape]),
        ("advantages", advantages, [shape, shape[:1]]),
    ]:
        if list(value.shape) not in allowed:
            expected = " or ".join(map(str, allowed))
            raise ValueError(f"{name} must align with logprobs {shape}: expected {expected}, got {list(value.shape)}")


def _check_values(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, normalizer: float | Tensor | None
) -> None:
    """Refuses values without a finite loss or gradient. NaN in ``logprobs`` is allowed: the policy itself is broken."""
    for name, value in (("logprobs", logprobs), ("old_logprobs", old_logprobs), ("advantages", advantages)):
        if not value.is_floating_point():
            raise ValueError(f"{name} must be floating point; got {value.dtype}")
    if logprobs.dtype == torch.float16 and logprobs.requires_grad:
        raise ValueError(
            "logprobs must be float32, float64 or bfloat16 to be trained through: a ratio's gradient leaves float16; "
            "got torch.float16 (logprob_and_entropy takes logits of any dtype and gives float32)"
        )
    if normalizer is not None:
        low, high = NORMALIZERS
        check_number("normalizer", float(normalizer), minimum=low, maximum=high)
    live = mask if advantages.ndim == 2 else mask.any(dim=1)
    wrong = {"old_logprobs": ~old_logprobs.isfinite() & mask, "advantages": ~(advantages.abs() <= MAX_REWARD) & live}
    if not bool(torch.stack([bad.any() for bad in wrong.values()]).any()):  # one wait for the device, not two
        return
    for name, expected, value in (
        ("old_logprobs", "finite", old_logprobs),
        ("advantages", f"finite and at most {MAX_REWARD:g}", advantages),
    ):
        if bool(wrong[name].any()):
            place = wrong[name].nonzero()[0].tolist()
            raise ValueError(f"{name} must be {expected} where mask is 1; got {value[tuple(place)].item()} at {place}")


def _diagnostics(
    ratio: Tensor,
    log_ratio: Tensor,
    advantages: Tensor,
    mask: Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> dict[str, Tensor]:
    """Shares of tokens, or of non-empty completions for sequence ratios, by the sign of their summed advantage."""
    live = mask
    if ratio.shape != mask.shape:
        advantages, live = advantages.sum(dim=1, keepdim=True), mask.any(dim=1, keepdim=True)
    units, tokens = live.sum().clamp(min=1), mask.sum().clamp(min=1)
    drift = torch.where(mask, log_ratio.exp() - 1 - log_ratio, 0.0)
    # The ratio of an empty batch is 1.
    values = ratio[live] if bool(live.any()) else ratio.new_ones(1)
    return {
        "clip_low": ((ratio < 1 - epsilon_low) & (advantages < 0) & live).sum() / units,
        "clip_high": ((ratio > 1 + epsilon_high) & (advantages > 0) & live).sum() / units,
        "ratio_mean": values.mean(),
        "ratio_min": values.amin(),
        "ratio_max": values.amax(),
        "approx_kl": drift.sum() / tokens,
    }
