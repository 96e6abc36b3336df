"""Base classes of the credit-assignment methods: options, :meth:`Method.assign`, and the training objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

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
    """The credit of ``B`` completions with ``T`` token positions. All tensors are float32 or bool, without gradient."""

    shaped_rewards: Tensor
    """``[B, T]`` (token-level methods; 0 outside the mask) or ``[B]``: the rewards before normalisation."""

    advantages: Tensor
    """``[B, T]`` (0 outside the mask) or ``[B]``."""

    loss_mask: Tensor
    """``[B, T]`` bool, the tokens that the loss and its token count include."""

    success: Tensor
    """``[B]`` bool, the completions that are successes."""

    gated: Tensor
    """``[B]`` bool, completions in one-outcome normalisation sets, which get advantage 0."""

    outcome_rewards: Tensor | None = None
    """``[B]`` part of the shaped rewards that the outcome alone decides; the rest is ``± coefficient * weight``.
    ``None``: the method weighs nothing."""

    coefficient: float = 0.0
    """Coefficient of the weights: GTPO's ``alpha2``, GRPO-S's ``beta2``."""

    def weights(self, mask: Tensor) -> Tensor | None:
        """``[B, T]`` weights that the method gave the tokens, 0 outside ``mask``; ``None`` if it weighs nothing.

        They average to 1 over every comparison set (with the arithmetic mean) and are read off the shaped rewards, so
        they are accurate to about ``1e-7 / coefficient``.

        Args:
            mask: ``[B, T]`` bool or 0/1, the completions' own tokens.

        Example:
            >>> shaped, right = torch.tensor([[1.05, 1.15]]), torch.tensor([True])
            >>> credit = Credit(shaped, shaped, shaped > 0, right, ~right, torch.tensor([1.0]), 0.1)
            >>> credit.weights(torch.tensor([[1, 1]]))
            tensor([[0.5000, 1.5000]])
        """
        if self.outcome_rewards is None or self.coefficient == 0:
            return None
        term = self.per_token(mask).shaped_rewards - self.outcome_rewards[:, None]
        return torch.where(mask.bool(), term.abs() / self.coefficient, 0.0)

    def per_token(self, mask: Tensor) -> Credit:
        """The same credit with shaped rewards and advantages ``[B, T]``, whatever the method; 0 outside ``mask``.

        With sequence-level credit, every token gets the value of its completion.

        Args:
            mask: ``[B, T]`` bool or 0/1, the completions' own tokens, as in :class:`entroshape.Rollouts`.

        Raises:
            ValueError: the mask is not ``[B, T]``, or does not align with token-level credit.

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

    def taken(self, rows: slice, width: int) -> Credit:
        """The credit of some of the completions, without positions from ``width`` on. ``[B]`` stays ``[B]``."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        cut: dict[str, Any] = {name: value[(rows, slice(width))[: value.ndim]] for name, value in tensors.items()}
        return replace(self, **cut)


def option(role: str, *, default: Any) -> Any:
    """A field of a method's dataclass that has the same role as options with other names in other methods.

    An option of another method is then answered with the one of the same role.
    """
    return field(default=default, metadata={"role": role})


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A credit-assignment method: frozen options and one pure function of the rollouts.

    Group statistics are computed over the given rollouts, so pass those of a whole step, from all ranks, at once.
    """

    name: ClassVar[str]
    """The name in :data:`entroshape.methods.METHODS`. Methods from outside the package need none."""

    dynamic_sampling: ClassVar[bool] = True
    """Whether the method, as published, replaces one-outcome groups with groups of fresh prompts. It is the default of
    the engines."""

    selects_tokens: ClassVar[bool] = False
    """Whether the method may leave tokens of a completion out of the loss."""

    success_threshold: float = 0.5
    """A completion is a success if its raw reward is above this threshold, unless ``Rollouts.success`` is given."""

    overlong: Overlong | None = None
    """Punishment of overlong completions, added to the base reward: ``SoftOverlong`` (DAPO) or
    ``GroupRelativeOverlong`` (Appendix D)."""

    def __post_init__(self) -> None:
        check_number("success_threshold", self.success_threshold, minimum=-MAX_REWARD, maximum=MAX_REWARD)
        if not (self.overlong is None or isinstance(self.overlong, SoftOverlong | GroupRelativeOverlong)):
            raise ValueError(f"overlong must be a SoftOverlong, a GroupRelativeOverlong or None; got {self.overlong!r}")

    @abstractmethod
    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Assigns credit to every token or completion.

        Args:
            rollouts: the completions of one step; see :class:`entroshape.Rollouts`.
            generator: a CPU generator, used only by ``signal="random"``.

        Raises:
            ValueError: the rollouts lack a field that the method needs.
        """

    @property
    @abstractmethod
    def surrogate(self) -> ClippedSurrogate:
        """The objective that the method is trained with."""

    @property
    def needs(self) -> frozenset[str]:
        """Optional fields of the rollouts that the method needs: a subset of ``{"entropies", "logprobs"}``."""
        return frozenset()

    def shaped_rewards(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Tensor:
        """``[B, T]`` or ``[B]`` shaped rewards: see :class:`Credit`."""
        return self.assign(rollouts, generator).shaped_rewards

    def advantages(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Tensor:
        """``[B, T]`` or ``[B]`` advantages: see :class:`Credit`."""
        return self.assign(rollouts, generator).advantages

    def is_success(self, rewards: Tensor | Sequence[float]) -> Tensor:
        """Whether rewards are successes, above ``success_threshold``. Used in training, evaluation and reports.

        Args:
            rewards: raw rewards of any shape, before any punishment.

        Returns:
            A bool tensor of the same shape; see :func:`entroshape.credit.sets.is_success`.

        Example:
            >>> from entroshape import GTPO
            >>> GTPO(success_threshold=0.8).is_success([0.7, 0.8, 0.9]).tolist()
            [False, False, True]
        """
        return is_success(rewards, self.success_threshold)

    def success(self, rollouts: Rollouts) -> Tensor:
        """``[B]`` bool, the completions that are successes: ``rollouts.success``, or :meth:`is_success` without it."""
        return self.is_success(rollouts.rewards) if rollouts.success is None else rollouts.success

    def base_rewards(self, rollouts: Rollouts, success: Tensor) -> Tensor:
        """``[B]`` rewards before shaping: the raw rewards with overlong punishment.

        Their dtype is :func:`~entroshape.credit.sets.statistics_dtype`, as for all values per completion.
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
    """A method that gives every failure the same base reward, whatever its raw reward."""

    failure_reward: float = -1.0
    """The base reward of a failure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("failure_reward", self.failure_reward, minimum=-MAX_REWARD, maximum=0.0)

    def base_rewards(self, rollouts: Rollouts, success: Tensor) -> Tensor:
        """``[B]`` raw rewards of successes and ``failure_reward`` for failures, with overlong punishment."""
        raw = rollouts.rewards
        rewards = torch.where(success, raw.to(statistics_dtype(raw)), self.failure_reward)
        return self._punished(rewards, rollouts, success)
