"""The credit-assignment methods, one short file each, and the registry that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from entroshape.credit.overlong import overlong_from_options, overlong_to_options
from entroshape.methods.base import Credit, Method
from entroshape.methods.controls import GRPOSRandom, GRPOSUniform, GTPORandom, GTPOSurprisal, GTPOUniform
from entroshape.methods.dapo import DAPO
from entroshape.methods.forking import ForkingTokens
from entroshape.methods.grpo import GRPO
from entroshape.methods.grpo_s import GRPOS
from entroshape.methods.gtpo import GTPO
from entroshape.methods.opo import OPO

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        *(GTPO, GRPOS, GRPO, DAPO, ForkingTokens, OPO),
        *(GTPOUniform, GTPORandom, GTPOSurprisal, GRPOSUniform, GRPOSRandom),
    )
}
"""Method classes by name. A new method needs a new file and an entry here."""


def build_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Builds a method from its name and options, as configuration files and command lines give them.

    Raises:
        ValueError: the name or an option is unknown (the message lists the valid ones), or a value is out of range.

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
    given = dict(options or {})
    if isinstance(given.get("overlong"), Mapping):
        given["overlong"] = overlong_from_options(given["overlong"])
    if isinstance(given.get("entropy_clip"), list):
        given["entropy_clip"] = tuple(given["entropy_clip"])
    return METHODS[name](**given)


def method_options(method: Method) -> dict[str, Any]:
    """All options of a method as plain values for :func:`build_method`, JSON and YAML.

    Example:
        >>> method_options(GRPO())
        {'success_threshold': 0.5, 'overlong': None, 'epsilon_low': 0.2, 'epsilon_high': 0.2}
    """
    options = {field.name: getattr(method, field.name) for field in fields(method)}
    if options["overlong"] is not None:
        options["overlong"] = overlong_to_options(options["overlong"])
    if options.get("entropy_clip") is not None:
        options["entropy_clip"] = list(options["entropy_clip"])
    return options


__all__ = [
    "DAPO",
    "GRPO",
    "GRPOS",
    "GTPO",
    "METHODS",
    "OPO",
    "Credit",
    "ForkingTokens",
    "GRPOSRandom",
    "GRPOSUniform",
    "GTPORandom",
    "GTPOSurprisal",
    "GTPOUniform",
    "Method",
    "build_method",
    "method_options",
]
