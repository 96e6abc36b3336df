"""Methods whose credit also depends on earlier steps, through an explicit state of a few numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from entroshape.checks import check_number
from entroshape.methods.base import Credit, Method
from entroshape.rollouts import Rollouts

State = Mapping[str, float]
"""The state of a method between two steps: finite numbers by name."""


@dataclass(frozen=True, kw_only=True)
class Stateful(Method):
    """A method with a state between steps, such as a running target or a weight that adapts.

    The method itself is frozen: :meth:`assign_from` takes the state and returns the next one. The engine keeps it, the
    same on all ranks, and saves it with every checkpoint. A resumed run continues from it.
    """

    @property
    @abstractmethod
    def initial_state(self) -> State:
        """The state before the first step."""

    @abstractmethod
    def assign_from(
        self, rollouts: Rollouts, state: State, generator: torch.Generator | None = None
    ) -> tuple[Credit, State]:
        """Assigns the credit of a step.

        Args:
            rollouts: the completions of one step, of all ranks.
            state: the state after the step before, with the names of :attr:`initial_state`. It must not be changed.
            generator: as in :meth:`Method.assign`.

        Returns:
            The credit, and the state after this step, a new mapping.
        """

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """The credit of a first step: :meth:`assign_from` with :attr:`initial_state`."""
        return self.assign_from(rollouts, self.initial_state, generator)[0]


def checked_state(method: Stateful, state: object, where: str) -> dict[str, float]:
    """``state`` as a plain mapping of its own.

    Raises:
        ValueError: it does not have the names of ``method.initial_state``, or a value is not a finite number. The
            message begins with ``where``.
    """
    names = set(method.initial_state)
    if not isinstance(state, Mapping) or set(state) != names:
        got = sorted(map(str, state)) if isinstance(state, Mapping) else state
        raise ValueError(f"{where} must hold {', '.join(sorted(names))}; got {got!r}")
    for name, value in state.items():
        check_number(f"{name} in {where}", value)
    return dict(state)
