"""GTPO: token-level entropy-weighted credit (§3 of arXiv 2508.04349v6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice, check_number
from entroshape.credit._blocks import column_blocks, row_blocks, zeroed
from entroshape.credit.comparison import Axis, comparison_weights
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import Credit
from entroshape.methods.shaping import EntropyShaped
from entroshape.rollouts import Rollouts


@dataclass(frozen=True, kw_only=True)
class GTPO(EntropyShaped):
    """Group Token Policy Optimization: uncertain tokens of right answers earn more, confident mistakes lose more.

    Shaped rewards (Eq. 3, 5), with the sums over the ``d_t`` (``h_t``) live responses of the same outcome::

        r+_{i,t} =  alpha1 * r_i + alpha2 * d_t * H_{i,t}     / sum_k H_{k,t}         for successes
        r-_{j,t} = -alpha1       - alpha2 * h_t * (1/H_{j,t}) / sum_k (1/H_{k,t})     for failures

    normalised to advantages by Eq. 6 and trained with the token ratio and the token mean (Eq. 7).

    Raises:
        ValueError: an option out of range, naming it.

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

    alpha1: float = 1.0
    """Weight of the outcome."""

    alpha2: float = 0.1
    """Weight of the entropy term. 0 gives the token-mean-baselined GRPO/DAPO advantage."""

    axis: Axis = "column"
    """The comparison set of a token: its ``"column"`` (the paper's), its ``"row"``, or the whole ``"matrix"``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("alpha1", self.alpha1, minimum=0.0)
        check_number("alpha2", self.alpha2, minimum=0.0)
        check_choice("axis", self.axis, get_args(Axis))

    @property
    def surrogate(self) -> ClippedSurrogate:
        """Eq. 7: token ratio, mean over all tokens."""
        return ClippedSurrogate(epsilon_low=self.epsilon_low, epsilon_high=self.epsilon_high)

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Shaped rewards and advantages, both ``[B, T]``: see :meth:`Method.assign`."""
        success = self.success(rollouts)
        signal, mask = self._signal(rollouts, generator), rollouts.mask
        sets, right = self._outcome_sets(rollouts, success), success[:, None].float()
        base = self.alpha1 * self.base_rewards(rollouts, success)[:, None]
        slope = self.alpha2 * (2.0 * right - 1.0)
        shaped = torch.empty(mask.shape, device=mask.device)
        for rows, columns in self._blocks(mask):
            live = mask[rows, columns]
            values = self._positive(signal[rows, columns])
            values = (right[rows] * values).add_((1.0 - right[rows]) / values)
            weights = comparison_weights(values, live, sets[rows], axis=self.axis, mean=self.mean)
            shaped[rows, columns] = zeroed(weights.mul_(slope[rows]).add_(base[rows]), live)
        advantages, gated = self._normalized(shaped, mask, success, rollouts)
        return Credit(shaped, advantages, mask, success, gated)

    def _blocks(self, mask: Tensor) -> list[tuple[slice, slice]]:
        """Rows and columns that can be compared without the rest."""
        whole = slice(None)
        if self.axis == "column":
            return [(whole, columns) for columns in column_blocks(mask)]
        return [(rows, whole) for rows in row_blocks(mask)] if self.axis == "row" else [(whole, whole)]
