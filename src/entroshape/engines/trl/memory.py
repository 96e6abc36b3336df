"""Keeps the state of a stateful method in the trainer's state, which transformers saves with every checkpoint."""

from __future__ import annotations

from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerState

from entroshape.methods import Method
from entroshape.methods.stateful import State, Stateful, checked_state

KEY = "entroshape.method_state"
"""Entry of ``stateful_callbacks`` in ``trainer_state.json``."""


def state_before(method: Method, trainer: TrainerState) -> State:
    """The state of the method before the step that ``trainer`` is in; empty for a method without one.

    Raises:
        ValueError: the run was resumed from a checkpoint without it, or with that of another method.
    """
    if not isinstance(method, Stateful):
        return {}
    kept: dict[str, Any] = trainer.stateful_callbacks  # a mapping once it is built
    if KEY in kept:
        return checked_state(method, kept[KEY].get("attributes"), "the checkpoint's state of the method")
    if trainer.global_step:
        raise ValueError(
            f"the checkpoint has no state of {type(method).__name__}: it is of a run with another method, which "
            "cannot be resumed with this one"
        )
    return method.initial_state


def keep_state(method: Method, trainer: TrainerState, state: State) -> dict[str, float]:
    """Keeps the main process's ``state`` on every rank, and returns it; empty for a method without one."""
    if not isinstance(method, Stateful):
        return {}
    (mine,) = broadcast_object_list([dict(state)])
    kept: dict[str, Any] = trainer.stateful_callbacks  # as above
    kept[KEY] = {"args": {}, "attributes": mine}
    return dict(mine)
