"""Rollouts: the completions of one training step as tensors, validated on construction.

Shapes: ``B`` completions (of all groups), ``T`` token positions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from entroshape.credit.bounds import MAX_NATS, MAX_REWARD


@dataclass(frozen=True, eq=False, kw_only=True)
class Rollouts:
    """The completions of one step, the input of every credit-assignment method.

    Tensors are copied only if their dtype changes. Values at masked-out positions are never read and may be anything,
    including NaN.

    Args:
        rewards: ``[B]`` terminal rewards, finite and of magnitude at most 1e9. Any real or integer dtype; kept as
            float32.
        entropies: ``[B, T]`` entropy, in nats, of the sampling policy's full next-token distribution at the sampling
            temperature (Eq. 4 of arXiv 2508.04349v6): finite, not negative and at most 1e4 where ``mask`` is 1. Not
            needed by methods that do not use entropies, such as GRPO and DAPO.
        mask: ``[B, T]`` of 0/1 or bool: 1 on a completion's own tokens (including EOS), 0 on padding and tool output.
            A row of zeros is an empty completion.
        group: ``[B]`` integer ids: equal ids belong to the same prompt. Any values, order and group sizes.
        logprobs: ``[B, T]`` log-probabilities of the sampled tokens under the sampling policy, in nats, at least -1e4.
            Needed only by the surprisal control.
        success: ``[B]`` bool, which completions are successes. ``None``: a method compares ``rewards`` with its
            ``success_threshold``.

    Raises:
        ValueError: an argument is invalid; the message names it, what was expected and what was given.

    Example:
        >>> import torch
        >>> r = Rollouts(rewards=torch.tensor([1.0, 0.0]), entropies=torch.ones(2, 3),
        ...              mask=torch.tensor([[1, 1, 1], [1, 1, 0]]), group=torch.tensor([7, 7]))
        >>> r.lengths.tolist()
        [3, 2]
    """

    rewards: Tensor
    entropies: Tensor | None = None
    mask: Tensor
    group: Tensor
    logprobs: Tensor | None = None
    success: Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            optional = field.name in ("entropies", "logprobs", "success")
            if not (isinstance(value, Tensor) or (value is None and optional)):
                raise ValueError(f"{field.name} must be a torch.Tensor, got {type(value).__name__}")
        if self.mask.ndim != 2:
            raise ValueError(f"mask must have shape [B, T], got {list(self.mask.shape)}")
        batch, length = self.mask.shape
        device = self.mask.device
        for name, shape in [
            ("rewards", [batch]),
            ("entropies", [batch, length]),
            ("group", [batch]),
            ("logprobs", [batch, length]),
            ("success", [batch]),
        ]:
            value = getattr(self, name)
            if value is None:
                continue
            if list(value.shape) != shape:
                raise ValueError(
                    f"{name} must align with mask {[batch, length]}: expected {shape}, got {list(value.shape)}"
                )
            if value.device != device:
                raise ValueError(f"{name} must be on the mask's device {device}, got {value.device}")
        self._normalise_dtypes()
        self._check_values()

    def _normalise_dtypes(self) -> None:
        mask = self.mask
        if mask.dtype != torch.bool:
            if mask.is_complex():
                raise ValueError(f"mask must hold 0 and 1 only, got {mask.dtype}")
            if not bool(((mask == 0) | (mask == 1)).all()):
                raise ValueError(f"mask must hold 0 and 1 only, got {_offending(mask, (mask != 0) & (mask != 1))}")
            mask = mask.bool()
        if self.rewards.dtype == torch.bool or self.rewards.is_complex():
            raise ValueError(f"rewards must be real numbers, got {self.rewards.dtype}")
        if self.group.is_floating_point() or self.group.is_complex() or self.group.dtype == torch.bool:
            raise ValueError(f"group must hold integer ids, got {self.group.dtype}")
        if self.success is not None and self.success.dtype != torch.bool:
            raise ValueError(f"success must be bool, got {self.success.dtype}")
        for name in ("entropies", "logprobs"):
            value = getattr(self, name)
            if value is not None and not value.is_floating_point():
                raise ValueError(f"{name} must be floating point, got {value.dtype}")
            if value is not None:
                object.__setattr__(self, name, value.detach().float())
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "group", self.group.long())
        object.__setattr__(self, "rewards", self.rewards.detach().float())

    def _check_values(self) -> None:
        bad = ~(self.rewards.abs() <= MAX_REWARD)
        if bool(bad.any()):
            raise ValueError(f"rewards must be finite and at most {MAX_REWARD:g}, got {_offending(self.rewards, bad)}")
        for name in ("entropies", "logprobs"):
            value = getattr(self, name)
            if value is None:
                continue
            bad = ~value.isfinite() & self.mask
            if bool(bad.any()):
                raise ValueError(f"{name} must be finite where mask is 1, got {_offending(value, bad)}")
            # Entropies computed in low precision can be slightly below zero; the entropy floor raises them.
            low, high = (-1e-3, MAX_NATS) if name == "entropies" else (-MAX_NATS, 1e-3)
            outside = ((value < low) | (value > high)) & self.mask
            if bool(outside.any()):
                low, high = round(low), round(high)  # slightly beyond 0 is rounding, and accepted
                raise ValueError(
                    f"{name} must be from {low} to {high} nats where mask is 1, got {_offending(value, outside)}"
                )

    @property
    def lengths(self) -> Tensor:
        """``[B]`` int64, the number of tokens per completion."""
        return self.mask.sum(dim=1)

    def __len__(self) -> int:
        return self.mask.shape[0]


def _offending(value: Tensor, bad: Tensor) -> str:
    """The first invalid entry and its position."""
    place = bad.nonzero()[0].tolist()
    return f"{value[tuple(place)].item()} at {place}"
