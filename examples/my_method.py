"""A method of your own: GRPO's advantages, larger where the sampling policy was uncertain."""

from dataclasses import dataclass, replace

import torch

from entroshape import GRPO


@dataclass(frozen=True, kw_only=True)
class Uncertain(GRPO):
    """``A_t = A * (1 + alpha * H_t)``, with GRPO's advantage ``A`` and the entropy ``H_t`` of a token in nats."""

    alpha: float = 0.1
    """Weight of the entropy."""

    needs = frozenset({"entropies"})

    def assign(self, rollouts, generator=None):
        """Credit for every token, ``[B, T]``."""
        credit = super().assign(rollouts, generator).per_token(rollouts.mask)
        scaled = credit.advantages * (1 + self.alpha * rollouts.entropies)
        return replace(credit, advantages=torch.where(rollouts.mask, scaled, 0.0))
