"""What the trainer mode hands to the estimator, which verl calls with neither entropies nor raw outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor

from entroshape.methods import Credit, Method
from entroshape.rollouts import Rollouts


@dataclass(eq=False, kw_only=True)
class Handoff:
    """One step's data, on its way there and back. ``B`` rows of the batch, padding rows included, ``T`` positions."""

    method: Method
    """The method that the configuration names."""

    rewards: Tensor
    """``[B]`` raw outcomes."""

    real: Tensor
    """``[B]`` bool: rows that are responses; the others are verl's padding, so that a batch divides evenly."""

    entropies: Tensor | None
    """``[B, T]`` nats, of the sampling policy at the sampling temperature."""

    logprobs: Tensor | None
    """``[B, T]`` old log-probabilities."""

    seed: int
    """Of the ``random`` control's permutation."""

    rollouts: Rollouts | None = None
    """Returned: the method's input, without padding rows."""

    credit: Credit | None = None
    """Back: what it made of them."""


_current: ContextVar[Handoff | None] = ContextVar("entroshape_handoff", default=None)


@contextmanager
def handing(handoff: Handoff) -> Iterator[Handoff]:
    """While active, estimators take their data from ``handoff`` and leave their credit in it."""
    token = _current.set(handoff)
    try:
        yield handoff
    finally:
        _current.reset(token)


def handed() -> Handoff | None:
    """What has been handed over, if anything."""
    return _current.get()
