"""Reading files that may be damaged, foreign or hostile: each fault is one sentence that names the file.

A run directory may come from somebody else. Nothing in it is executed, and neither depth nor repetition in a small file
can make a large value.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from entroshape.printable import shown

MOST_VALUES = 100_000
"""A YAML file that amounts to more values is refused: aliases of aliases grow without bound."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, with the floats of YAML 1.2: ``1e-6`` is a number, as people mean it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)

_YAML_FAULTS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What PyYAML raises for bad scalars, beside its own errors."""


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        ValueError: there is no such file, it cannot be read, or it is not UTF-8; the message names it.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error


def read_yaml(path: Path) -> Any:
    """The plain value that a YAML file holds.

    Raises:
        ValueError: as :func:`read_text`; it is not YAML, too deep, or more than :data:`MOST_VALUES` values.
    """
    text = read_text(path)
    try:
        value = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        place = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{path} is not YAML: {error.problem or error.context}{place}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    except _YAML_FAULTS as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    _check_amount(value, path)
    return value


def _check_amount(value: Any, path: Path) -> None:
    rest, seen = [value], 0
    while rest:
        each = rest.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise ValueError(f"{path} must hold at most {MOST_VALUES} values, those of aliases counted each time")
        if isinstance(each, dict):
            rest += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set):
            rest += each


def read_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        ValueError: as :func:`read_text` and :func:`parse_json`.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text, all of its numbers finite.

    Raises:
        ValueError: it is not JSON, holds ``NaN`` or an infinite number, or is too deep; the message begins with
            ``where``.
    """
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError(f"{where}: the JSON is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:
        raise ValueError(f"{where}: not JSON with finite numbers: {error}") from error


def _not_finite(name: str) -> Any:
    raise ValueError(f"it holds {name}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {shown(text)}")
    return value


def check_numbers(values: Any, where: str) -> dict[str, Any]:
    """``values``, if they are a mapping of names to finite numbers, or ``None`` for what is unknown.

    Raises:
        ValueError: they are not; the message begins with ``where``.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected an object of names and numbers; got {shown(values)}")
    for name, value in values.items():
        if not isinstance(value, int | float | None) or not _is_finite(value or 0):
            raise ValueError(f"{where}: {shown(name)} must be a finite number; got {shown(value)}")
    return values


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
