"""Controls: GTPO's shaping without the information in the entropies. GTPO has to beat them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from entroshape.methods.gtpo import GTPO
from entroshape.methods.shaping import Signal


@dataclass(frozen=True, kw_only=True)
class Control(GTPO):
    """GTPO with one fixed signal, after which the control is named. Other signals are refused."""

    def __post_init__(self) -> None:
        (own,) = (option.default for option in fields(self) if option.name == "signal")
        if self.signal != own:
            raise ValueError(f"signal of {self.name} must be {own!r}; got {self.signal!r}. Use gtpo for other signals")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class GTPOUniform(Control):
    """GTPO with all weights 1, so that only the split normalisation is left."""

    name: ClassVar[str] = "gtpo_uniform"
    signal: Signal = "uniform"


@dataclass(frozen=True, kw_only=True)
class GTPORandom(Control):
    """GTPO with the entropies randomly permuted among the tokens of the group: the same values without information."""

    name: ClassVar[str] = "gtpo_random"
    signal: Signal = "random"


@dataclass(frozen=True, kw_only=True)
class GTPOSurprisal(Control):
    """GTPO with the surprisal ``-log pi_old`` of the sampled token instead of the entropy."""

    name: ClassVar[str] = "gtpo_surprisal"
    signal: Signal = "surprisal"
