"""Passes data from the trainer mode to the estimator, which verl calls without entropies and raw outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor

from entroshape.methods import Credit, Method
from entroshape.methods.stateful import State
from entroshape.rollouts import Rollouts


@dataclass(eq=False, kw_only=True)
class Handoff:
    """Data of one step, and its credit. ``B`` rows of the batch including padding rows, ``T`` token positions."""

    method: Method
    """The method that the configuration names."""

    rewards: Tensor
    """``[B]`` raw outcomes."""

    real: Tensor
    """``[B]`` bool: whether the row is a completion. verl adds the other rows as padding, to divide batches evenly."""

    entropies: Tensor | None
    """``[B, T]`` entropies of the sampling policy in nats, at the sampling temperature."""

    logprobs: Tensor | None
    """``[B, T]`` old log-probabilities."""

    seed: int
    """Seed of the step's credit, which the ``random`` control uses."""

    state: State = field(default_factory=dict)
    """State of the method before the step; the estimator replaces it with the one after. Empty: the method has none."""

    rollouts: Rollouts | None = None
    """Set by the estimator: the method's input, without padding rows."""

    credit: Credit | None = None
    """Set by the estimator: the credit of these rollouts."""


_current: ContextVar[Handoff | None] = ContextVar("entroshape_handoff", default=None)


@contextmanager
def handing(handoff: Handoff) -> Iterator[Handoff]:
    """While active, estimators read their data from ``handoff`` and write their credit into it."""
    token = _current.set(handoff)
    try:
        yield handoff
    finally:
        _current.reset(token)


def handed() -> Handoff | None:
    """The active handoff, if there is one."""
    return _current.get()
