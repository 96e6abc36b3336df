"""Controls: GTPO's shaping with the entropies taken out. A gain of GTPO has to beat these."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from entroshape.methods.gtpo import GTPO
from entroshape.methods.shaping import Signal


@dataclass(frozen=True, kw_only=True)
class Control(GTPO):
    """GTPO with one signal, which gives the control its name: another one is refused."""

    def __post_init__(self) -> None:
        (own,) = (option.default for option in fields(self) if option.name == "signal")
        if self.signal != own:
            raise ValueError(f"signal of {self.name} must be {own!r}, which it is named for; got {self.signal!r}")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class GTPOUniform(Control):
    """GTPO with every weight 1: only the split normalisation is left."""

    name: ClassVar[str] = "gtpo_uniform"
    signal: Signal = "uniform"


@dataclass(frozen=True, kw_only=True)
class GTPORandom(Control):
    """GTPO with the entropies permuted at random among the group's tokens: the same noise, no information."""

    name: ClassVar[str] = "gtpo_random"
    signal: Signal = "random"


@dataclass(frozen=True, kw_only=True)
class GTPOSurprisal(Control):
    """GTPO with the sampled token's surprisal ``-log pi_old`` in place of the entropy."""

    name: ClassVar[str] = "gtpo_surprisal"
    signal: Signal = "surprisal"
