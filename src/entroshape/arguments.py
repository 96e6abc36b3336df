"""Parses a command line into a dataclass of options with tyro, in the same way for all commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import tyro

from entroshape.printable import printable
from entroshape.training.values import parse_value

RULES = tyro.constructors.ConstructorRegistry()
"""How values on a command line are read, where tyro's own way is not the one of this project."""


@RULES.primitive_rule
def _numbers_rule(type_info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    if type_info.type not in (list[float], tuple[float, ...]):
        return None
    kind: Callable[[Iterable[float]], Any] = list if type_info.type == list[float] else tuple
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NUMBER,...]",
        instance_from_str=lambda texts: kind(float(each) for text in texts for each in text.split(",") if each.strip()),
        is_instance=lambda value: (
            isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value)
        ),
        str_from_instance=lambda numbers: [",".join(f"{number:g}" for number in numbers)] if numbers else [],
    )


@RULES.primitive_rule
def _options_rule(type_info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    if type_info.type != dict[str, Any]:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME=VALUE ...]",
        instance_from_str=_parse_options,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda options: [f"{name}={value}" for name, value in options.items()],
    )


def _parse_options(arguments: list[str]) -> dict[str, Any]:
    """Parses ``alpha2=0.2 axis=row`` to a mapping. Values are YAML, so numbers, true/false and {maps} work."""
    options = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not (name and equals):
            raise ValueError(f"expected NAME=VALUE, got {argument!r}")
        options[name] = parse_value(value)
    return options


def parse_arguments(options: Any, command: str, arguments: Sequence[str], **of_tyro: Any) -> Any:
    """Parses the options of ``entroshape command`` with ``tyro.cli`` and :data:`RULES`.

    Error messages quote the refused argument, with control characters escaped.

    Raises:
        SystemExit: status 2 for a refused argument, 0 for ``--help``.
        ValueError: the dataclass refuses a value, and tyro does not report it itself.
    """
    errors = StringIO()
    try:
        with redirect_stderr(errors):
            return tyro.cli(
                options,
                prog=f"entroshape {command}",
                args=list(arguments),
                config=(tyro.conf.FlagCreatePairsOff,),
                registry=RULES,
                **of_tyro,
            )
    finally:
        sys.stderr.write(printable(errors.getvalue()))
