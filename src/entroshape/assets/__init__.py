"""The bundled tiny models: where they are installed, and the task of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


class BundledModel(NamedTuple):
    """The task of a bundled model, and its defaults in training."""

    task: str
    """The kind of task that it was warm-started on. It has no tokens for other tasks."""

    learning_rate: float
    """Default peak learning rate of reinforcement learning."""

    options: Mapping[str, Any] = MappingProxyType({})
    """Other defaults of ``entroshape train`` on the command line."""


BUNDLED_MODELS: Mapping[str, BundledModel] = {
    "countdown-tiny": BundledModel("countdown", 1e-4),
    # Its completions are long and rarely succeed. About half of the groups have equal outcomes; replacing them would
    # take as long as the rest of a step.
    "countdown-search": BundledModel(
        "countdown_search",
        1.5e-4,
        MappingProxyType({"steps": 60, "dynamic_sampling": False, "old_logprobs": "sampler"}),
    ),
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
        ValueError: ``name`` is not a bundled model; the message lists the bundled models.

    Example:
        >>> bundled_model_path().name
        'countdown-tiny'
    """
    if name not in BUNDLED_MODELS:
        raise ValueError(f"name must be one of the bundled models ({', '.join(BUNDLED_MODELS)}); got {name!r}")
    return Path(str(files(__name__))) / name
