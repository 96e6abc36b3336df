"""Reads files that may be damaged, foreign or hostile. Every error is one sentence that names the file.

A run directory may come from somebody else. Nothing in it is executed, and a small file cannot expand to a huge value
through nesting or repetition.
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
"""Maximum number of values in a YAML file. Aliases of aliases could otherwise expand without bound."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but with the floats of YAML 1.2, so that ``1e-6`` is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)

_YAML_FAULTS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""PyYAML's own errors, and the others that it raises for invalid scalars."""


def read_text(path: Path) -> str:
    """Reads the text of a file.

    Raises:
        ValueError: the file does not exist, cannot be read, or is not UTF-8; the message names it.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from error


def read_yaml(path: Path) -> Any:
    """Reads the plain value in a YAML file.

    Raises:
        ValueError: as for :func:`read_text`, or the file is not YAML, nested too deeply, or has more than
            :data:`MOST_VALUES` values.
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
            raise ValueError(f"{path} must have at most {MOST_VALUES} values, with aliases expanded")
        if isinstance(each, dict):
            rest += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set):
            rest += each


def read_json(path: Path) -> Any:
    """Reads the value in a JSON file.

    Raises:
        ValueError: as for :func:`read_text` and :func:`parse_json`.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """Parses JSON in which all numbers are finite.

    Raises:
        ValueError: the text is not JSON, has ``NaN`` or an infinite number, or is nested too deeply; the message begins
            with ``where``.
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
    raise ValueError(f"it contains {name}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it contains {shown(text)}")
    return value


def check_numbers(values: Any, where: str) -> dict[str, Any]:
    """Checks that ``values`` maps names to finite numbers, or to ``None`` for unknown values, and returns it.

    Raises:
        ValueError: it does not; the message begins with ``where``.
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
    except OverflowError:  # an integer too large for a float
        return False
