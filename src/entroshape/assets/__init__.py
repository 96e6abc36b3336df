"""The bundled tiny models: where they are installed, and which task each was made for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple


class BundledModel(NamedTuple):
    """What a bundled model is for, and how to train it."""

    task: str
    """The kind of task it was warm-started on; it reads no other."""

    learning_rate: float
    """Peak learning rate of reinforcement learning, unless told otherwise."""


BUNDLED_MODELS: Mapping[str, BundledModel] = {
    "countdown-tiny": BundledModel("countdown", 1e-4),
    "countdown-search": BundledModel("countdown_search", 1.5e-4),
}


def bundled_model_of(task: str) -> str:
    """The name of the bundled model for a task's spec; countdown-tiny if none was made for it.

    Example:
        >>> bundled_model_of("countdown_search?level=easy")
        'countdown-search'
    """
    kind = re.split("[:?]", task, maxsplit=1)[0]
    return next((name for name, model in BUNDLED_MODELS.items() if model.task == kind), "countdown-tiny")


def bundled_model_path(name: str = "countdown-tiny") -> Path:
    """The directory of a bundled model, for ``from_pretrained``.

    Raises:
        ValueError: no such model; the message lists those there are.

    Example:
        >>> bundled_model_path().name
        'countdown-tiny'
    """
    if name not in BUNDLED_MODELS:
        raise ValueError(f"name must be one of the bundled models ({', '.join(BUNDLED_MODELS)}); got {name!r}")
    return Path(str(files(__name__))) / name
