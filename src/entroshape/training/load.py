"""TrainConfig from a YAML file, checked option by option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from entroshape.training.config import TrainConfig


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """A :class:`TrainConfig` from a YAML file of its options, with ``overrides`` on top.

    Raises:
        ValueError: naming the file and the option: not a mapping, an unknown option, a value of the wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"config must be a YAML file; got {path}, which does not exist")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold options, one 'name: value' a line; got {type(content).__name__}")
    if content.pop("environment", None) is not None:
        content.pop("output", None)  # a run's own config.yaml: its options start another run, elsewhere
    names = [option.name for option in fields(TrainConfig)]
    for name in content:
        if name not in names:
            raise ValueError(f"{path}: unknown option {name!r}; there are {', '.join(names)}")
    return config_from({**content, **(overrides or {})}, str(path))


def config_from(options: Mapping[str, Any], source: str) -> TrainConfig:
    """A :class:`TrainConfig` from plain values, checked option by option.

    Raises:
        ValueError: a value of the wrong type or range, naming ``source`` and the option.
    """
    try:
        return TypeAdapter(TrainConfig).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise ValueError(f"{source}: {first['ctx']['error']}") from error
        raise ValueError(
            f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}; got {first['input']!r}"
        ) from error
