"""entroshape: credit assignment for LLM reinforcement learning.

The public face needs torch alone::

    from entroshape import GTPO, Rollouts
    advantages = GTPO(alpha2=0.1).advantages(Rollouts(rewards=r, entropies=H, mask=m, group=g))

Engines, tasks and evaluation live in subpackages and are imported by name.
"""

from entroshape.credit.entropy import linear_logprob_and_entropy, logprob_and_entropy
from entroshape.credit.overlong import GroupRelativeOverlong, SoftOverlong
from entroshape.credit.surrogate import ClippedSurrogate, clipped_surrogate
from entroshape.methods import DAPO, GRPO, GRPOS, GTPO, METHODS, Credit, ForkingTokens, Method, build_method
from entroshape.rollouts import Rollouts

__version__ = "0.1.0"

__all__ = [
    "DAPO",
    "GRPO",
    "GRPOS",
    "GTPO",
    "METHODS",
    "ClippedSurrogate",
    "Credit",
    "ForkingTokens",
    "GroupRelativeOverlong",
    "Method",
    "Rollouts",
    "SoftOverlong",
    "build_method",
    "clipped_surrogate",
    "linear_logprob_and_entropy",
    "logprob_and_entropy",
]
