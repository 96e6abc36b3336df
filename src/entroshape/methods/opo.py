"""OPO: the outcome minus the group's mean reward, in which long completions count more (arXiv 2505.23585)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from entroshape.credit.normalization import length_weighted_mean, without_advantage
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import Credit, Method
from entroshape.rollouts import Rollouts


@dataclass(frozen=True, kw_only=True)
class OPO(Method):
    """On-Policy RL with Optimal reward baseline: a length-weighted baseline, and no standard deviation.

    With ``l_i = |o_i|`` the length of a completion in tokens and sums over the prompt's group::

        A_i = r_i - sum_k l_k r_k / sum_k l_k          for every token of the completion

    The baseline ``E[|grad log pi|^2 r] / E[|grad log pi|^2]`` minimises the variance of the policy gradient; it becomes
    the above if the squared gradient of a completion grows with its length. It is the baseline over tokens inside
    GTPO's ``zero_filled`` normalisation: for binary rewards, ``gtpo_uniform`` divides the same advantages by the
    standard deviation over the group's tokens.

    Source: ``compute_opo_outcome_advantage`` of verl 0.9.1, which uses the baseline 0 for a group with one completion;
    here the formula holds, and its advantage is 0. An empty completion has no weight and gets advantage 0. The paper
    claims more stable training than with GRPO and REINFORCE++. It trains exactly on policy, where the ratio is 1 and no
    clip range matters; it gives none, and the defaults here are DAPO's. Rewards are used unchanged. No KL term.

    Raises:
        ValueError: an option is out of range; the message names it.

    Example:
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 0.0]), mask=torch.tensor([[1, 0, 0], [1, 1, 1]]),
        ...                     group=torch.zeros(2, dtype=torch.long))
        >>> OPO().advantages(rollouts)
        tensor([ 0.7500, -0.2500])
    """

    name: ClassVar[str] = "opo"
    dynamic_sampling: ClassVar[bool] = False

    epsilon_low: float = 0.2
    """The importance ratio is clipped below at ``1 - epsilon_low``."""

    epsilon_high: float = 0.28
    """The importance ratio is clipped above at ``1 + epsilon_high``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.surrogate  # checks the clipping bounds

    @property
    def surrogate(self) -> ClippedSurrogate:
        """Token ratio; mean over all tokens: a completion's gradient is the sum over its tokens."""
        return ClippedSurrogate(epsilon_low=self.epsilon_low, epsilon_high=self.epsilon_high)

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Shaped rewards and advantages, both ``[B]``: see :meth:`Method.assign`."""
        success = self.success(rollouts)
        rewards = self.base_rewards(rollouts, success)
        baseline = length_weighted_mean(rewards, rollouts.lengths, rollouts.group)
        advantages = torch.where(rollouts.lengths > 0, rewards - baseline, 0.0).float()
        silent = without_advantage(advantages, rollouts.group)
        return Credit(rewards.float(), advantages, rollouts.mask, success, silent)
