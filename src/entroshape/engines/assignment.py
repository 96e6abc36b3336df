"""Computes the credit of a step for all engines: from the rows of all ranks, with the same seed on each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from entroshape.methods import Credit, Method
from entroshape.methods.stateful import State, Stateful, checked_state
from entroshape.rollouts import Rollouts


def credit_seed(seed: int, step: int) -> int:
    """The seed of a step's credit, derived from the run's seed. It is the same on all ranks and in a resumed run."""
    return seed * 1_000_003 + step


def credit_generator(seed: int) -> torch.Generator:
    """A separate CPU generator, so that the ``random`` control neither reads nor changes the global random state."""
    return torch.Generator().manual_seed(seed)


def assign_next(method: Method, rollouts: Rollouts, state: State, generator: torch.Generator) -> tuple[Credit, State]:
    """The credit of a step, and the method's state after it. A method without a state leaves ``state`` as it is.

    Raises:
        ValueError: the state has other names than the method's initial one, or a value is not a finite number.
    """
    if isinstance(method, Stateful):
        credit, after = method.assign_from(rollouts, state, generator)
        return credit, checked_state(method, after, f"the state that {type(method).__name__} returned")
    return method.assign(rollouts, generator), state


def assign_known(
    method: Method,
    state: State,
    *,
    rewards: Tensor,
    entropies: Tensor | None,
    mask: Tensor,
    group: Tensor,
    logprobs: Tensor | None,
    generator: torch.Generator,
) -> tuple[Credit, State]:
    """As :func:`assign_next`. Completions without a reward (NaN) get no credit and take part in no comparison.

    The other arguments are those of :class:`entroshape.Rollouts` and :meth:`entroshape.Method.assign`.
    """
    known = ~rewards.isnan()
    tensors = {"rewards": rewards, "entropies": entropies, "mask": mask, "group": group, "logprobs": logprobs}
    if not bool(known.all()):
        tensors = {name: None if value is None else value[known] for name, value in tensors.items()}
    credit, state = assign_next(method, Rollouts(**tensors), state, generator)  # type: ignore[arg-type]
    if bool(known.all()):
        return credit, state

    def spread(value: Tensor) -> Tensor:
        out = value.new_zeros((len(known), *value.shape[1:]))
        out[known] = value
        return out

    whole: dict[str, Any] = {name: spread(each) for name, each in vars(credit).items() if isinstance(each, Tensor)}
    everywhere = replace(credit, **whole)
    return replace(everywhere, gated=everywhere.gated | ~known), state
