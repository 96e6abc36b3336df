"""TrainConfig from a YAML file, checked option by option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from entroshape.printable import shown
from entroshape.runs.reading import read_yaml
from entroshape.training.config import TrainConfig

OF_EVERY_RUN = ("task", "model", "method", "steps", "seed")
"""Options that stand in every run's ``config.yaml``, whichever version wrote it."""


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """A :class:`TrainConfig` from a YAML file of its options, with ``overrides`` on top.

    Raises:
        ValueError: naming the file and the option: not a mapping, an unknown option, a value of the wrong type.
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
        content.pop("output", None)  # a run's own config.yaml: its options start another run, elsewhere
    return config_from({**content, **(overrides or {})}, str(path))


def load_run_config(path: str | Path) -> TrainConfig:
    """The options of a run from its own ``config.yaml``, which holds them all.

    Raises:
        ValueError: naming the file: it is empty, is another file than a run wrote, or as :func:`load_config`.
    """
    path = Path(path)
    content = read_yaml(path)
    missing = [name for name in (*OF_EVERY_RUN, "environment") if not isinstance(content, dict) or name not in content]
    if missing:
        raise ValueError(f"{path} is not the config.yaml of a run: it has no {missing[0]!r}")
    return load_config(path)


def config_from(options: Mapping[str, Any], source: str) -> TrainConfig:
    """A :class:`TrainConfig` from plain values, checked option by option.

    Raises:
        ValueError: a value of the wrong type or range, naming ``source`` and the option.
    """
    kinds = get_type_hints(TrainConfig)
    for name, value in options.items():
        if name not in kinds:
            raise ValueError(f"{source}: unknown option {shown(name)}; there are {', '.join(kinds)}")
        try:
            TypeAdapter(kinds[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ValueError(f"{source}: {name}: {error.errors()[0]['msg']}; got {shown(value)}") from error
    try:
        return TrainConfig(**options)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
