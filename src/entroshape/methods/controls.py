"""Controls: GTPO's shaping with the entropies taken out. A gain of GTPO has to beat these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from entroshape.methods.gtpo import GTPO
from entroshape.methods.shaping import Signal


@dataclass(frozen=True, kw_only=True)
class GTPOUniform(GTPO):
    """GTPO with every weight 1: only the split normalisation is left."""

    name: ClassVar[str] = "gtpo_uniform"
    signal: Signal = "uniform"


@dataclass(frozen=True, kw_only=True)
class GTPORandom(GTPO):
    """GTPO with the entropies permuted at random among the group's tokens: the same noise, no information."""

    name: ClassVar[str] = "gtpo_random"
    signal: Signal = "random"


@dataclass(frozen=True, kw_only=True)
class GTPOSurprisal(GTPO):
    """GTPO with the sampled token's surprisal ``-log pi_old`` in place of the entropy."""

    name: ClassVar[str] = "gtpo_surprisal"
    signal: Signal = "surprisal"
