"""GRPO: the same advantage for every token, the reward normalised over the group (arXiv 2402.03300)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from entroshape.credit.normalization import normalized_advantages, without_advantage
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import Credit, Method
from entroshape.rollouts import Rollouts


@dataclass(frozen=True, kw_only=True)
class GRPO(Method):
    """Group Relative Policy Optimization: ``A_i = (r_i - mean_group r) / std_group r`` (Eq. 1-2 of arXiv 2508.04349v6).

    Rewards are used unchanged. Trained with the token ratio and one epsilon; the loss is the mean over the tokens of
    each completion, then over completions. There is no KL term.

    Raises:
        ValueError: an option is out of range; the message names it.

    Example:
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 0.0, 0.0, 0.0]), mask=torch.ones(4, 1),
        ...                     group=torch.zeros(4, dtype=torch.long))
        >>> GRPO().advantages(rollouts)
        tensor([ 1.5000, -0.5000, -0.5000, -0.5000])
    """

    name: ClassVar[str] = "grpo"
    dynamic_sampling: ClassVar[bool] = False

    epsilon_low: float = 0.2
    """The importance ratio is clipped below at ``1 - epsilon_low``."""

    epsilon_high: float = 0.2
    """The importance ratio is clipped above at ``1 + epsilon_high``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.surrogate  # checks the clipping bounds

    @property
    def surrogate(self) -> ClippedSurrogate:
        """Token ratio; mean over the tokens of each completion, then over completions."""
        return ClippedSurrogate(
            epsilon_low=self.epsilon_low, epsilon_high=self.epsilon_high, aggregation="sequence_mean"
        )

    def loss_mask(self, rollouts: Rollouts) -> Tensor:
        """``[B, T]`` bool, the tokens that the loss includes: here all."""
        return rollouts.mask

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Shaped rewards and advantages, both ``[B]``: see :meth:`Method.assign`."""
        self._require(rollouts)
        success = self.success(rollouts)
        rewards = self.base_rewards(rollouts, success)
        every = torch.ones_like(success)[:, None]
        (advantages,) = normalized_advantages(
            rewards[:, None], every, success, rollouts.group, normalization="joint"
        ).unbind(dim=1)
        silent = without_advantage(advantages, rollouts.group)
        return Credit(rewards.float(), advantages, self.loss_mask(rollouts), success, silent)
