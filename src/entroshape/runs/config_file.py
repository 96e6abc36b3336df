"""config.yaml of a run: its options, with the environment that they were used in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from entroshape.printable import shown
from entroshape.runs.files import environment, write_aside
from entroshape.runs.reading import read_yaml


def write_options(path: Path, options: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> None:
    """Writes the file; see :meth:`entroshape.runs.RunDirectory.write_config`."""
    if "environment" in options:
        raise ValueError("config must not contain 'environment', which is written next to the options")
    content = {**options, "environment": environment() if recorded is None else dict(recorded)}
    try:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    except yaml.representer.RepresenterError as error:
        raise ValueError(f"config must contain only plain values; got {error.args[-1]!r}") from error
    write_aside(path, lambda file: file.write(text.encode()))


def read_options(path: Path) -> dict[str, Any]:
    """Reads the file; see :meth:`entroshape.runs.RunDirectory.read_config`."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} must be a mapping of options; got {type(content).__name__}")
    for name in ("method_options", "environment"):
        if not isinstance(content.get(name) or {}, dict):
            raise ValueError(f"{path}: {name} must be a mapping; got {shown(content[name])}")
    return content
