"""entroshape: credit assignment for LLM reinforcement learning.

The public face needs torch alone::

    from entroshape import GTPO, Rollouts
    advantages = GTPO(alpha2=0.1).advantages(Rollouts(rewards=r, entropies=H, mask=m, group=g))

Engines, tasks and evaluation live in subpackages and are imported by name.
"""

from typing import TYPE_CHECKING

from entroshape._lazy import lazily

if TYPE_CHECKING:
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

_HOMES = {
    "entroshape.credit.entropy": ("linear_logprob_and_entropy", "logprob_and_entropy"),
    "entroshape.credit.overlong": ("GroupRelativeOverlong", "SoftOverlong"),
    "entroshape.credit.surrogate": ("ClippedSurrogate", "clipped_surrogate"),
    "entroshape.methods": (
        "DAPO",
        "GRPO",
        "GRPOS",
        "GTPO",
        "METHODS",
        "Credit",
        "ForkingTokens",
        "Method",
        "build_method",
    ),
    "entroshape.rollouts": ("Rollouts",),
}
"""Where the public names live: imported when they are used, so that ``entroshape --help`` waits for no torch."""

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
