"""DAPO: GRPO with clip-higher, the token mean, -1 for failures and dynamic sampling (arXiv 2503.14476)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from entroshape.checks import check_choice
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import FailurePunished
from entroshape.methods.grpo import GRPO

MeanAggregation = Literal["token_mean", "sequence_mean"]
"""The aggregations that need no constant."""


@dataclass(frozen=True, kw_only=True)
class DAPO(FailurePunished, GRPO):
    """Decoupled Clip and Dynamic Sampling Policy Optimization.

    GRPO's advantages, but with reward -1 instead of 0 for failures (so that overlong punishments are on the same
    scale), trained with ``epsilon_low=0.2``, ``epsilon_high=0.28`` and the mean over all tokens of the batch. Dynamic
    sampling is done by the engine. DAPO's overlong punishment is ``overlong=SoftOverlong(max_length=..., cache=...)``.

    Raises:
        ValueError: an option is out of range; the message names it.

    Example:
        >>> import torch
        >>> from entroshape import Rollouts
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 0.0]), mask=torch.ones(2, 1),
        ...                     group=torch.zeros(2, dtype=torch.long))
        >>> DAPO().shaped_rewards(rollouts)
        tensor([ 1., -1.])
    """

    name: ClassVar[str] = "dapo"
    dynamic_sampling: ClassVar[bool] = True

    epsilon_high: float = 0.28
    """The importance ratio is clipped above at ``1 + epsilon_high`` (clip-higher)."""

    aggregation: MeanAggregation = "token_mean"
    """Aggregation of the tokens' objectives: ``"token_mean"`` (the mean over all tokens, DAPO's) or, as a control,
    ``"sequence_mean"`` (the mean over the tokens of each completion, then over completions, as in GRPO)."""

    def __post_init__(self) -> None:
        check_choice("aggregation", self.aggregation, get_args(MeanAggregation))
        super().__post_init__()

    @property
    def surrogate(self) -> ClippedSurrogate:
        """Token ratio; mean over all tokens, or what ``aggregation`` says."""
        return ClippedSurrogate(
            epsilon_low=self.epsilon_low, epsilon_high=self.epsilon_high, aggregation=self.aggregation
        )
