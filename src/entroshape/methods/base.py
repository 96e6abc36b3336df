"""What every credit-assignment method has: options, :meth:`Method.assign`, and the objective it is trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from entroshape.checks import check_number
from entroshape.credit.overlong import GroupRelativeOverlong, Overlong, SoftOverlong
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.rollouts import Rollouts

Scope = Literal["group", "batch"]


@dataclass(frozen=True, eq=False)
class Credit:
    """Who got which credit. ``B`` responses, ``T`` token positions; everything float32 or bool, without gradient."""

    shaped_rewards: Tensor
    """``[B, T]`` (token-level methods; 0 outside the mask) or ``[B]``: the rewards before normalisation."""

    advantages: Tensor
    """``[B, T]`` (0 outside the mask) or ``[B]``."""

    loss_mask: Tensor
    """``[B, T]`` bool: the tokens that the loss, and its token count, run over."""

    success: Tensor
    """``[B]`` bool: which responses count as successes."""

    gated: Tensor
    """``[B]`` bool: responses whose normalisation set carries no outcome information, so that their advantage is 0."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A credit-assignment method: frozen options and one pure function of the rollouts.

    Group statistics are taken over the rollouts that are passed, so pass all of a step's (of all ranks) at once.
    """

    name: ClassVar[str]
    """The name in :data:`entroshape.methods.METHODS`."""

    dynamic_sampling: ClassVar[bool] = True
    """Whether the method, as published, replaces one-outcome groups by freshly sampled ones; engines take it as their
    default."""

    success_threshold: float = 0.5
    """A response is a success if its raw reward is above this, unless ``Rollouts.success`` says so explicitly."""

    overlong: Overlong | None = None
    """Punishment of overlong responses, added to the base reward: ``SoftOverlong`` (DAPO) or
    ``GroupRelativeOverlong`` (Appendix D)."""

    def __post_init__(self) -> None:
        check_number("success_threshold", self.success_threshold)
        if not (self.overlong is None or isinstance(self.overlong, SoftOverlong | GroupRelativeOverlong)):
            raise ValueError(f"overlong must be a SoftOverlong, a GroupRelativeOverlong or None; got {self.overlong!r}")

    @abstractmethod
    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """The credit of every response or token: shaped rewards, advantages and what goes with them.

        Args:
            rollouts: one step's responses; see :class:`entroshape.Rollouts`.
            generator: a CPU generator, used by ``signal="random"`` alone.

        Raises:
            ValueError: if the rollouts lack something that the method's options need.
        """

    @property
    @abstractmethod
    def surrogate(self) -> ClippedSurrogate:
        """The objective that the method is trained with."""

    @property
    def needs(self) -> frozenset[str]:
        """Which optional fields of the rollouts must be there: a subset of ``{"entropies", "logprobs"}``."""
        return frozenset()

    def shaped_rewards(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Tensor:
        """``[B, T]`` or ``[B]`` shaped rewards: see :class:`Credit`."""
        return self.assign(rollouts, generator).shaped_rewards

    def advantages(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Tensor:
        """``[B, T]`` or ``[B]`` advantages: see :class:`Credit`."""
        return self.assign(rollouts, generator).advantages

    def success(self, rollouts: Rollouts) -> Tensor:
        """``[B]`` bool: which responses are successes, by the raw reward (before any punishment)."""
        return rollouts.rewards > self.success_threshold if rollouts.success is None else rollouts.success

    def _punishment(self, rollouts: Rollouts, success: Tensor) -> Tensor:
        if self.overlong is None:
            return torch.zeros_like(rollouts.rewards)
        return self.overlong.punishment(rollouts.lengths, success, rollouts.group)

    def _require(self, rollouts: Rollouts) -> None:
        for name in sorted(self.needs):
            if getattr(rollouts, name) is None:
                raise ValueError(f"{name} must be given: {self!r} needs the sampling policy's {name} [B, T]; got None")
