"""Parses values of options on a command line."""

from __future__ import annotations

from typing import Any

import yaml

from entroshape.printable import one_line, shown


def parse_value(text: str) -> Any:
    """Parses a number, ``true``, ``false``, ``null``, ``[list]`` or ``{map}`` as YAML; everything else is text.

    Raises:
        ValueError: brackets or quotes are not closed.

    Example:
        >>> [parse_value(text) for text in ("0.2", "1e-4", "false", "row", "[0.2, 0.28]")]
        [0.2, 0.0001, False, 'row', [0.2, 0.28]]
    """
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = getattr(error, "problem", None) or one_line(str(error))
        raise ValueError(f"{shown(text)} is not a value: {why}") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-4, without a decimal point, as text
        try:
            return float(value)
        except ValueError:
            return value
    return value
