"""DAPO on forking tokens: the loss includes only the tokens with the highest entropy (arXiv 2506.01939)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from torch import Tensor

from entroshape.checks import check_number
from entroshape.methods.dapo import DAPO
from entroshape.rollouts import Rollouts


@dataclass(frozen=True, kw_only=True)
class ForkingTokens(DAPO):
    """DAPO with the loss, and its token count, restricted to the tokens with the top 20 % of entropies in the batch.

    Raises:
        ValueError: an option is out of range; the message names it.

    Example:
        >>> import torch
        >>> H = torch.tensor([[0.1, 2.0, 0.3], [0.2, 0.1, 0.0]])
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 0.0]), entropies=H,
        ...                     mask=torch.ones(2, 3), group=torch.zeros(2, dtype=torch.long))
        >>> ForkingTokens(quantile=0.2).assign(rollouts).loss_mask
        tensor([[False,  True,  True],
                [False, False, False]])
    """

    name: ClassVar[str] = "dapo_forking"
    selects_tokens: ClassVar[bool] = True

    quantile: float = 0.2
    """Share of the batch's tokens that the loss includes. Tokens that tie with the last of them are included too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("quantile", self.quantile, minimum=0.0, maximum=1.0)
        if self.quantile == 0:
            raise ValueError("quantile must be in (0, 1]: with 0 no token would be left; got 0")

    @property
    def needs(self) -> frozenset[str]:
        """See :attr:`Method.needs`."""
        return frozenset({"entropies"})

    def loss_mask(self, rollouts: Rollouts) -> Tensor:
        """``[B, T]`` bool: the live tokens whose entropy reaches the batch's ``ceil(quantile * N)``-th largest."""
        self._require(rollouts)
        assert rollouts.entropies is not None  # checked by _require
        live = rollouts.entropies[rollouts.mask]
        if live.numel() == 0:
            return rollouts.mask
        kept = math.ceil(Fraction(str(self.quantile)) * live.numel())  # in floats, 0.28 * 100 is above 28
        threshold = live.kthvalue(live.numel() - kept + 1).values
        return rollouts.mask & (rollouts.entropies >= threshold)
