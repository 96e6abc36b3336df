"""What every credit-assignment method has: options, :meth:`Method.assign`, and the objective it is trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from entroshape.checks import check_number
from entroshape.credit.bounds import MAX_REWARD
from entroshape.credit.overlong import GroupRelativeOverlong, Overlong, SoftOverlong
from entroshape.credit.sets import is_success, statistics_dtype
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

    def per_token(self, mask: Tensor) -> Credit:
        """The same credit with shaped rewards and advantages ``[B, T]``, whatever the method; 0 outside ``mask``.

        A response's own value stands on each of its tokens.

        Args:
            mask: ``[B, T]`` bool, or 0/1: the responses' own tokens, as in :class:`entroshape.Rollouts`.

        Raises:
            ValueError: a mask that is not ``[B, T]``, or does not align with token-level credit.

        Example:
            >>> credit = Credit(*[torch.tensor([2.0, 3.0])] * 2, *[torch.tensor([True, False])] * 3)
            >>> credit.per_token(torch.tensor([[1, 1], [1, 0]])).advantages
            tensor([[2., 2.],
                    [3., 0.]])
        """
        fits = mask.ndim == 2 and len(mask) == len(self.advantages)
        if not fits or (self.advantages.ndim == 2 and mask.shape != self.advantages.shape):
            raise ValueError(
                f"mask must be [B, T] and align with advantages {list(self.advantages.shape)}; got {list(mask.shape)}"
            )

        def spread(values: Tensor) -> Tensor:
            values = values if values.ndim == 2 else values[:, None]
            return torch.where(mask.bool(), values, 0.0)

        return replace(self, shaped_rewards=spread(self.shaped_rewards), advantages=spread(self.advantages))


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
        check_number("success_threshold", self.success_threshold, minimum=-MAX_REWARD, maximum=MAX_REWARD)
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

    def is_success(self, rewards: Tensor | Sequence[float]) -> Tensor:
        """Which rewards are a success: those above ``success_threshold``. The one answer, in training and after it.

        Args:
            rewards: raw rewards of any shape, before any punishment.

        Returns:
            A bool tensor of that shape; see :func:`entroshape.credit.sets.is_success`.

        Example:
            >>> from entroshape import GTPO
            >>> GTPO(success_threshold=0.8).is_success([0.7, 0.8, 0.9]).tolist()
            [False, False, True]
        """
        return is_success(rewards, self.success_threshold)

    def success(self, rollouts: Rollouts) -> Tensor:
        """``[B]`` bool: which responses are successes: as the rollouts say, else :meth:`is_success` of the rewards."""
        return self.is_success(rollouts.rewards) if rollouts.success is None else rollouts.success

    def base_rewards(self, rollouts: Rollouts, success: Tensor) -> Tensor:
        """``[B]`` the rewards before any shaping: the raw ones, each with its overlong punishment.

        In :func:`~entroshape.credit.sets.statistics_dtype`, as all that is worked out per response.
        """
        return self._punished(rollouts.rewards.to(statistics_dtype(rollouts.rewards)), rollouts, success)

    def _punished(self, rewards: Tensor, rollouts: Rollouts, success: Tensor) -> Tensor:
        if self.overlong is None:
            return rewards
        return rewards + self.overlong.punishment(rollouts.lengths, success, rollouts.group)

    def _require(self, rollouts: Rollouts) -> None:
        for name in sorted(self.needs):
            if getattr(rollouts, name) is None:
                raise ValueError(f"{name} must be given: {self!r} needs the sampling policy's {name} [B, T]; got None")


@dataclass(frozen=True, kw_only=True)
class FailurePunished(Method):
    """A method whose failures have a base reward of their own, whatever raw reward they got."""

    failure_reward: float = -1.0
    """The base reward of a failure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("failure_reward", self.failure_reward, minimum=-MAX_REWARD, maximum=0.0)

    def base_rewards(self, rollouts: Rollouts, success: Tensor) -> Tensor:
        """``[B]`` a success's raw reward, a failure's ``failure_reward``, each with its overlong punishment."""
        raw = rollouts.rewards
        rewards = torch.where(success, raw.to(statistics_dtype(raw)), self.failure_reward)
        return self._punished(rewards, rollouts, success)
