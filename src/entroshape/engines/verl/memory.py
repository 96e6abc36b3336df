"""Keeps the state of a stateful method in verl's checkpoints. Only the trainer's process has the state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from entroshape.methods import Method
from entroshape.methods.stateful import State, Stateful, checked_state
from entroshape.runs.files import write_aside
from entroshape.runs.reading import read_json

FILE = "method_state.json"
"""Name of the file in a checkpoint ``global_step_N``."""


def initial(method: Method) -> State:
    """The state before the first step; empty for a method without one."""
    return dict(method.initial_state) if isinstance(method, Stateful) else {}


def save(method: Method, state: State, trainer: Any, step: int) -> None:
    """Writes the state into the checkpoint of ``step`` atomically, if the method has one.

    Args:
        method: the method.
        state: its state after the step.
        trainer: the section ``trainer`` of verl's configuration.
        step: number of the step.
    """
    if isinstance(method, Stateful):
        path = Path(trainer.default_local_dir) / f"global_step_{step}" / FILE
        write_aside(path, lambda file: file.write(json.dumps(dict(state)).encode()))


def load(method: Method, trainer: Any, step: int) -> State:
    """The state in the checkpoint of ``step`` that verl has loaded; the arguments are those of :func:`save`.

    Raises:
        ValueError: the checkpoint has no state of this method, or its file is damaged.
    """
    if not isinstance(method, Stateful):
        return {}
    resumed = trainer.resume_mode == "resume_path"
    folder = Path(trainer.resume_from_path if resumed else Path(trainer.default_local_dir) / f"global_step_{step}")
    if not (folder / FILE).is_file():
        raise ValueError(
            f"{folder} has no {FILE}: it is of a run with another method, which cannot be resumed with "
            f"{type(method).__name__}"
        )
    return checked_state(method, read_json(folder / FILE), str(folder / FILE))
