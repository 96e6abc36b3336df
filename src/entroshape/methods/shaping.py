"""Common options and steps of the entropy-shaped methods, GTPO and GRPO-S."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice, check_flag, check_number
from entroshape.credit.bounds import MAX_NATS, SMALLEST_FLOOR
from entroshape.credit.comparison import Mean
from entroshape.credit.normalization import Normalization, normalized_advantages, one_outcome
from entroshape.credit.sets import set_ids
from entroshape.methods.base import FailurePunished, Scope
from entroshape.rollouts import Rollouts

_COMPARISON_OPTIONS = (
    "axis",
    "comparison_scope",
    "entropy_clip",
    "entropy_floor",
    "failure_signal",
    "mean",
    "sequence_entropy_mean",
)

Signal = Literal["entropy", "surprisal", "random", "uniform"]


@dataclass(frozen=True, kw_only=True)
class EntropyShaped(FailurePunished):
    """Base class of GTPO and GRPO-S: prepares, compares and normalises entropies."""

    normalization: Normalization = "zero_filled"
    """The tokens that Eq. 6 averages over: ``"zero_filled"``, ``"joint"`` or ``"within"`` (degenerate: does not learn
    the outcome)."""

    comparison_scope: Scope = "group"
    """Completions that are compared: those of the prompt's ``"group"``, or of the whole ``"batch"``."""

    normalization_scope: Scope = "group"
    """Completions over which shaped rewards are normalised: ``"group"`` or ``"batch"``."""

    mean: Mean = "arithmetic"
    """The mean of a comparison set: ``"arithmetic"`` (Eq. 3, 5, 9) or ``"geometric"`` (Appendix C)."""

    entropy_clip: tuple[float, float] | None = None
    """Clamp entropies to ``(low, high)`` nats before shaping; the paper's text says (0.2, 0.28)."""

    entropy_floor: float = 1e-6
    """Entropies are clamped below at this many nats, so that ``1 / H`` is finite."""

    signal: Signal = "entropy"
    """Quantity that weights are computed from: ``"entropy"``, or for controls ``"surprisal"`` (``-log pi_old`` of the
    sampled token), ``"random"`` (the entropies permuted among what is compared: GTPO's tokens or GRPO-S's completions
    of the comparison scope) or ``"uniform"`` (all weights 1)."""

    gate: bool = True
    """Give advantage 0 to one-outcome normalisation sets, instead of scaling their entropy noise to unit variance."""

    epsilon_low: float = 0.2
    """The importance ratio is clipped below at ``1 - epsilon_low``."""

    epsilon_high: float = 0.28
    """The importance ratio is clipped above at ``1 + epsilon_high``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("normalization", self.normalization, get_args(Normalization))
        check_choice("comparison_scope", self.comparison_scope, get_args(Scope))
        check_choice("normalization_scope", self.normalization_scope, get_args(Scope))
        check_choice("mean", self.mean, get_args(Mean))
        check_choice("signal", self.signal, get_args(Signal))
        check_number("entropy_floor", self.entropy_floor, minimum=SMALLEST_FLOOR, maximum=MAX_NATS)
        check_flag("gate", self.gate)
        if self.entropy_clip is not None:
            self._check_clip()
        if self.signal == "uniform":
            self._check_uniform()
        _ = self.surrogate  # checks the clipping bounds

    def _check_clip(self) -> None:
        if not (isinstance(self.entropy_clip, tuple | list) and len(self.entropy_clip) == 2):
            raise ValueError(f"entropy_clip must be (low, high) in nats or None; got {self.entropy_clip!r}")
        low, high = self.entropy_clip
        check_number("entropy_clip[0]", low, minimum=0.0, maximum=MAX_NATS)
        check_number("entropy_clip[1]", high, minimum=self.entropy_floor, maximum=MAX_NATS)
        if low >= high:
            raise ValueError(f"entropy_clip must have low < high; got {self.entropy_clip!r}")
        object.__setattr__(self, "entropy_clip", (low, high))

    def _check_uniform(self) -> None:
        """Refuses options of the comparison, which would be ignored because all weights are 1."""
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in _COMPARISON_OPTIONS and value != option.default:
                raise ValueError(
                    f"{option.name} has no effect with signal='uniform'; expected {option.default!r}, got {value!r}"
                )

    @property
    def needs(self) -> frozenset[str]:
        """See :attr:`Method.needs`."""
        return {
            "entropy": frozenset({"entropies"}),
            "random": frozenset({"entropies"}),
            "surprisal": frozenset({"logprobs"}),
            "uniform": frozenset[str](),
        }[self.signal]

    def _sets(self, rollouts: Rollouts, scope: Scope) -> Tensor:
        return rollouts.group if scope == "group" else torch.zeros_like(rollouts.group)

    def _signal(self, rollouts: Rollouts) -> Tensor:
        """``[B, T]`` quantity that is compared, before :meth:`_positive` and :meth:`_permuted`."""
        self._require(rollouts)
        if self.signal == "uniform":
            return torch.ones((), device=rollouts.mask.device).expand(rollouts.mask.shape)
        source = rollouts.logprobs if self.signal == "surprisal" else rollouts.entropies
        assert source is not None  # checked by _require
        return source

    def _permuted(self, values: Tensor, mask: Tensor, rollouts: Rollouts, generator: torch.Generator | None) -> Tensor:
        """``values``, for the random control permuted among the live ones of the comparison scope."""
        if self.signal != "random":
            return values
        return permuted_within(values, mask, self._sets(rollouts, self.comparison_scope), generator)

    def _positive(self, signal: Tensor) -> Tensor:
        """The signal, or a block of it, clipped and floored. Masked-out values are arbitrary."""
        values = -signal if self.signal == "surprisal" else signal
        if self.entropy_clip is not None:
            values = values.clamp(*self.entropy_clip)
        return values.clamp(min=self.entropy_floor)

    def _normalized(self, shaped: Tensor, mask: Tensor, success: Tensor, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """``[B, T]`` advantages of shaped rewards, and ``[B]`` bool, which completions are gated."""
        sets = self._sets(rollouts, self.normalization_scope)
        advantages = normalized_advantages(shaped, mask, success, sets, normalization=self.normalization)
        gated = one_outcome(success, mask.any(dim=1), sets) & self.gate
        return advantages.index_fill_(0, gated.nonzero()[:, 0], 0.0), gated


def permuted_within(values: Tensor, mask: Tensor, sets: Tensor, generator: torch.Generator | None) -> Tensor:
    """``[B, T]`` values, randomly permuted among the live ones of each set."""
    token_sets = set_ids(sets)[0][:, None].expand_as(mask)[mask]
    order = torch.randperm(token_sets.numel(), generator=generator).to(mask.device)
    shuffled = order[torch.argsort(token_sets[order], stable=True)]
    home = torch.argsort(token_sets, stable=True)
    live = torch.empty_like(values[mask])
    live[home] = values[mask][shuffled]
    return values.masked_scatter(mask, live)
