"""GRPO-S: sequence-level entropy-weighted credit (§4 of arXiv 2508.04349v6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice, check_number
from entroshape.credit.bounds import MAX_COEFFICIENT
from entroshape.credit.comparison import Mean
from entroshape.credit.shaping import response_entropies, shaped_response_rewards
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import Credit, option
from entroshape.methods.shaping import EntropyShaped
from entroshape.rollouts import Rollouts

SequenceRatio = Literal["sequence_arithmetic", "sequence_geometric"]


@dataclass(frozen=True, kw_only=True)
class GRPOS(EntropyShaped):
    """GRPO-S: successes with high mean entropy gain more, failures with low mean entropy lose more.

    With ``Hbar_k`` the mean entropy of a completion (Eq. 8) and ``n`` successes, ``m`` failures (Eq. 9)::

        r+_i =  beta1 * r_i + beta2 * n * Hbar_i     / sum_k Hbar_k         for successes
        r-_j = -beta1       - beta2 * m * (1/Hbar_j) / sum_k (1/Hbar_k)     for failures

    The shaped rewards are normalised over completions, and trained with the sequence ratio and the mean over
    completions (Eq. 10, 11). An empty completion has no entropy: it keeps the neutral weight 1, and the others are
    compared without it.

    Raises:
        ValueError: an option is out of range; the message names it.

    Example:
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 1.0, 0.0]), entropies=torch.tensor([[1.0], [3.0], [2.0]]),
        ...                     mask=torch.ones(3, 1), group=torch.zeros(3, dtype=torch.long))
        >>> GRPOS(beta2=0.1).shaped_rewards(rollouts)
        tensor([ 1.0500,  1.1500, -1.1000])
    """

    name: ClassVar[str] = "grpo_s"

    beta1: float = option("weight of the outcome", default=1.0)
    """Weight of the outcome."""

    beta2: float = option("weight of the entropy", default=0.1)
    """Weight of the entropy term. 0 gives GRPO's advantages with the sequence ratio."""

    sequence_entropy_mean: Mean = "arithmetic"
    """Mean of the token entropies of a completion: ``"arithmetic"`` (Eq. 8) or ``"geometric"`` (Appendix C)."""

    ratio: SequenceRatio = "sequence_arithmetic"
    """Importance ratio of a completion: the arithmetic mean of the token ratios (Eq. 11) or the geometric mean
    (Appendix C)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta1", self.beta1, minimum=0.0, maximum=MAX_COEFFICIENT)
        check_number("beta2", self.beta2, minimum=0.0, maximum=MAX_COEFFICIENT)
        check_choice("sequence_entropy_mean", self.sequence_entropy_mean, get_args(Mean))
        check_choice("ratio", self.ratio, get_args(SequenceRatio))

    @property
    def surrogate(self) -> ClippedSurrogate:
        """Eq. 10: sequence ratio, mean over completions."""
        return ClippedSurrogate(
            ratio=self.ratio,
            epsilon_low=self.epsilon_low,
            epsilon_high=self.epsilon_high,
            aggregation="sequence_mean",
        )

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Shaped rewards and advantages, both ``[B]``: see :meth:`Method.assign`."""
        success = self.success(rollouts)
        entropies, live = self._compared(rollouts, generator)
        base = self.base_rewards(rollouts, success)
        shaped = shaped_response_rewards(
            base,
            entropies,
            live,
            success,
            self._sets(rollouts, self.comparison_scope),
            beta1=self.beta1,
            beta2=self.beta2,
            mean=self.mean,
            sequence_entropy_mean=self.sequence_entropy_mean,
        )
        every = torch.ones_like(success)[:, None]
        advantages, gated = self._normalized(shaped[:, None], every, success, rollouts)
        outcome = (self.beta1 * base).float()
        return Credit(shaped.float(), advantages[:, 0], rollouts.mask, success, gated, outcome, self.beta2)

    def _compared(self, rollouts: Rollouts, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Entropies and their mask, by which completions are compared: ``[B, T]``, or permuted means ``[B, 1]``."""
        entropies = self._positive(self._signal(rollouts))
        if self.signal != "random":
            return entropies, rollouts.mask
        own = response_entropies(entropies, rollouts.mask, mean=self.sequence_entropy_mean)[:, None]
        live = rollouts.mask.any(dim=1, keepdim=True)
        return self._permuted(own, live, rollouts, generator), live
