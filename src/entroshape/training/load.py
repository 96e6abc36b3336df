"""Loads a TrainConfig from a YAML file and checks every option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from entroshape.printable import shown
from entroshape.runs.reading import read_yaml
from entroshape.training.config import TrainConfig

OF_EVERY_RUN = ("task", "model", "method", "steps", "seed")
"""Options that the ``config.yaml`` of every run has, whichever version wrote it."""


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Loads a :class:`TrainConfig` from a YAML file of its options; ``overrides`` take precedence.

    Raises:
        ValueError: the file is not a mapping, an option is unknown, or a value has the wrong type. The message names
            the file and the option.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"config must be a YAML file; got {path}, which does not exist")
    if path.is_dir():
        raise ValueError(f"config must be a YAML file; {path} is a directory")
    content = read_yaml(path)
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold options, one 'name: value' per line; got {type(content).__name__}")
    if content.pop("environment", None) is not None:
        content.pop("output", None)  # the config.yaml of a run: its options start another run in another directory
    return config_from({**content, **(overrides or {})}, str(path))


def load_run_config(path: str | Path) -> TrainConfig:
    """Loads the options of a run from its ``config.yaml``.

    Raises:
        ValueError: the file is not the ``config.yaml`` of a run, or as for :func:`load_config`.
    """
    path = Path(path)
    content = read_yaml(path)
    missing = [name for name in (*OF_EVERY_RUN, "environment") if not isinstance(content, dict) or name not in content]
    if missing:
        raise ValueError(f"{path} is not the config.yaml of a run: it has no {missing[0]!r}")
    return load_config(path)


def config_from(options: Mapping[str, Any], source: str) -> TrainConfig:
    """Builds a :class:`TrainConfig` from plain values and checks every option.

    Raises:
        ValueError: a value has the wrong type or is out of range. The message names ``source`` and the option.
    """
    kinds = get_type_hints(TrainConfig)
    for name, value in options.items():
        if name not in kinds:
            raise ValueError(f"{source}: unknown option {shown(name)}; choose from {', '.join(kinds)}")
        try:
            TypeAdapter(kinds[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ValueError(f"{source}: {name}: {error.errors()[0]['msg']}; got {shown(value)}") from error
    try:
        return TrainConfig(**options)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
