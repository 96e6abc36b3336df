"""Controls: the shaping of GTPO and GRPO-S without the information in the entropies. The methods have to beat them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from entroshape.methods.grpo_s import GRPOS
from entroshape.methods.gtpo import GTPO
from entroshape.methods.shaping import EntropyShaped, Signal


@dataclass(frozen=True, kw_only=True)
class Control(EntropyShaped):
    """A method with one fixed signal, after which the control is named. Other signals are refused."""

    def __post_init__(self) -> None:
        (own,) = (option.default for option in fields(self) if option.name == "signal")
        if self.signal != own:
            original = self.name.removesuffix(f"_{own}")
            raise ValueError(
                f"signal of {self.name} must be {own!r}; got {self.signal!r}. Use {original} for other signals"
            )
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class GTPOUniform(Control, GTPO):
    """GTPO with all weights 1, so that only the split normalisation is left."""

    name: ClassVar[str] = "gtpo_uniform"
    signal: Signal = "uniform"


@dataclass(frozen=True, kw_only=True)
class GTPORandom(Control, GTPO):
    """GTPO with the entropies randomly permuted among the tokens of the group: the same values without information."""

    name: ClassVar[str] = "gtpo_random"
    signal: Signal = "random"


@dataclass(frozen=True, kw_only=True)
class GTPOSurprisal(Control, GTPO):
    """GTPO with the surprisal ``-log pi_old`` of the sampled token instead of the entropy."""

    name: ClassVar[str] = "gtpo_surprisal"
    signal: Signal = "surprisal"


@dataclass(frozen=True, kw_only=True)
class GRPOSUniform(Control, GRPOS):
    """GRPO-S with all weights 1, so that only the split normalisation and the sequence ratio are left."""

    name: ClassVar[str] = "grpo_s_uniform"
    signal: Signal = "uniform"


@dataclass(frozen=True, kw_only=True)
class GRPOSRandom(Control, GRPOS):
    """GRPO-S with the completions' mean entropies randomly permuted among the completions of the group."""

    name: ClassVar[str] = "grpo_s_random"
    signal: Signal = "random"
