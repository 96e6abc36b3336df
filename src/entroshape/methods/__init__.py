"""The credit-assignment methods, one short file each, and the registry that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from entroshape.methods.base import Credit, Method
from entroshape.methods.controls import GTPORandom, GTPOSurprisal, GTPOUniform
from entroshape.methods.dapo import DAPO
from entroshape.methods.forking import ForkingTokens
from entroshape.methods.grpo import GRPO
from entroshape.methods.grpo_s import GRPOS
from entroshape.methods.gtpo import GTPO

METHODS: dict[str, type[Method]] = {
    cls.name: cls for cls in (GTPO, GRPOS, GRPO, DAPO, ForkingTokens, GTPOUniform, GTPORandom, GTPOSurprisal)
}
"""Name to class. A new method is a new file and one more entry here."""


def build_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """A method from its name and options, as configuration files and command lines give them.

    Raises:
        ValueError: an unknown name or option, listing the valid ones; an option out of range.

    Example:
        >>> build_method("gtpo", {"alpha2": 0.2}).alpha2
        0.2
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {name!r}")
    valid = [field.name for field in fields(METHODS[name])]
    for option in options or {}:
        if option not in valid:
            raise ValueError(f"unknown option {option!r} of method {name!r}; it has {', '.join(valid)}")
    return METHODS[name](**(options or {}))


__all__ = [
    "DAPO",
    "GRPO",
    "GRPOS",
    "GTPO",
    "METHODS",
    "Credit",
    "ForkingTokens",
    "GTPORandom",
    "GTPOSurprisal",
    "GTPOUniform",
    "Method",
    "build_method",
]
