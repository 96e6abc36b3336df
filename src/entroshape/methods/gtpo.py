"""GTPO: token-level entropy-weighted credit (§3 of arXiv 2508.04349v6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice, check_number
from entroshape.credit._blocks import in_blocks
from entroshape.credit.bounds import MAX_COEFFICIENT
from entroshape.credit.comparison import Axis
from entroshape.credit.shaping import FailureSignal, shaped_token_rewards
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import Credit, option
from entroshape.methods.shaping import EntropyShaped
from entroshape.rollouts import Rollouts

INDEPENDENT: dict[Axis, int | None] = {"column": 1, "row": 0, "matrix": None}
"""For each axis, the dimension along which tokens are independent of each other."""


@dataclass(frozen=True, kw_only=True)
class GTPO(EntropyShaped):
    """Group Token Policy Optimization: uncertain tokens of successes gain more, confident tokens of failures lose more.

    Shaped rewards (Eq. 3, 5), with sums over the ``d_t`` (``h_t``) live completions of the same outcome::

        r+_{i,t} =  alpha1 * r_i + alpha2 * d_t * H_{i,t}     / sum_k H_{k,t}         for successes
        r-_{j,t} = -alpha1       - alpha2 * h_t * (1/H_{j,t}) / sum_k (1/H_{k,t})     for failures

    They are normalised to advantages by Eq. 6, and trained with the token ratio and the token mean (Eq. 7).

    Raises:
        ValueError: an option is out of range; the message names it.

    Example:
        >>> H = torch.tensor([[1.0, 3.0], [3.0, 1.0], [2.0, 2.0], [2.0, 6.0]])
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 1.0, 0.0, 0.0]), entropies=H,
        ...                     mask=torch.ones(4, 2), group=torch.zeros(4, dtype=torch.long))
        >>> GTPO(alpha2=0.1).shaped_rewards(rollouts)
        tensor([[ 1.0500,  1.1500],
                [ 1.1500,  1.0500],
                [-1.1000, -1.1500],
                [-1.1000, -1.0500]])
    """

    name: ClassVar[str] = "gtpo"

    alpha1: float = option("weight of the outcome", default=1.0)
    """Weight of the outcome."""

    alpha2: float = option("weight of the entropy", default=0.1)
    """Weight of the entropy term. 0 gives the token-mean-baselined GRPO/DAPO advantage."""

    axis: Axis = "column"
    """The comparison set of a token: its ``"column"`` (the paper's), its ``"row"``, or the whole ``"matrix"``."""

    failure_signal: FailureSignal = "inverse"
    """What tokens of failures are compared by: ``"inverse"`` (``1 / H``, Eq. 5), or ``"direct"`` (``H``, as for
    successes, so that uncertain tokens of failures lose more; not in the paper). Either way, the weights of a
    comparison set average to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("alpha1", self.alpha1, minimum=0.0, maximum=MAX_COEFFICIENT)
        check_number("alpha2", self.alpha2, minimum=0.0, maximum=MAX_COEFFICIENT)
        check_choice("axis", self.axis, get_args(Axis))
        check_choice("failure_signal", self.failure_signal, get_args(FailureSignal))
        if self.failure_signal != "inverse" and self.alpha2 == 0:
            raise ValueError(
                f"failure_signal has no effect with alpha2=0; expected 'inverse', got {self.failure_signal!r}"
            )

    @property
    def surrogate(self) -> ClippedSurrogate:
        """Eq. 7: token ratio, mean over all tokens."""
        return ClippedSurrogate(epsilon_low=self.epsilon_low, epsilon_high=self.epsilon_high)

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Shaped rewards and advantages, both ``[B, T]``: see :meth:`Method.assign`."""
        success = self.success(rollouts)
        base = self.base_rewards(rollouts, success)

        def shaped_rewards(base: Tensor, signal: Tensor, mask: Tensor, success: Tensor, sets: Tensor) -> Tensor:
            return shaped_token_rewards(
                base,
                self._positive(signal),
                mask,
                success,
                sets,
                alpha1=self.alpha1,
                alpha2=self.alpha2,
                axis=self.axis,
                mean=self.mean,
                failure_signal=self.failure_signal,
            )

        shaped = in_blocks(
            shaped_rewards,
            INDEPENDENT[self.axis],
            base,
            self._permuted(self._signal(rollouts), rollouts.mask, rollouts, generator),
            rollouts.mask,
            success,
            self._sets(rollouts, self.comparison_scope),
        )
        advantages, gated = self._normalized(shaped, rollouts.mask, success, rollouts)
        outcome = (self.alpha1 * base).float()
        return Credit(shaped, advantages, rollouts.mask, success, gated, outcome, self.alpha2)
