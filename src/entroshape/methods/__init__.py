"""The credit-assignment methods, one short file each, and the registry that names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from entroshape.checks import check_number
from entroshape.credit.bounds import MAX_REWARD
from entroshape.credit.overlong import overlong_from_options, overlong_to_options
from entroshape.methods.base import Credit, Method
from entroshape.methods.controls import GRPOSRandom, GRPOSUniform, GTPORandom, GTPOSurprisal, GTPOUniform
from entroshape.methods.dapo import DAPO
from entroshape.methods.foreign import foreign_class, foreign_method, foreign_name, installed_names
from entroshape.methods.forking import ForkingTokens
from entroshape.methods.grpo import GRPO
from entroshape.methods.grpo_s import GRPOS
from entroshape.methods.gtpo import GTPO
from entroshape.methods.opo import OPO
from entroshape.methods.stateful import Stateful
from entroshape.methods.sum import Sum, Term, terms_from_options, terms_to_options
from entroshape.names import did_you_mean

METHODS: dict[str, type[Method]] = {
    cls.name: cls
    for cls in (
        *(GTPO, GRPOS, GRPO, DAPO, ForkingTokens, OPO),
        *(GTPOUniform, GTPORandom, GTPOSurprisal, GRPOSUniform, GRPOSRandom),
    )
}
"""The methods of the package by name; all options have defaults. A new one needs a new file and an entry here."""

BUILT_IN: dict[str, type[Method]] = {**METHODS, Sum.name: Sum}
"""All names that no other package may use: the methods, and their composition. :func:`method_class` finds the rest."""


def method_names() -> list[str]:
    """All names that :func:`build_method` takes, besides ``module:Class``: the built-in and the installed methods."""
    return [*BUILT_IN, *(name for name in installed_names() if name not in BUILT_IN)]


def method_class(name: str) -> type[Method]:
    """The class of a method: built-in, of an installed package, or ``module:Class``.

    A package registers its methods in the entry-point group ``entroshape.methods``. Code from outside entroshape is
    imported here, and not before.

    Raises:
        ValueError: there is none of this name (the message has the nearest and all valid ones), several packages
            register it or one shadows a built-in method, or it cannot be imported or is not a method.

    Example:
        >>> method_class("gtpo").__name__
        'GTPO'
        >>> method_class("gpto")
        Traceback (most recent call last):
        ValueError: method must be one of gtpo, ..., or module:Class; got 'gpto': did you mean gtpo?
    """
    found = foreign_class(name, BUILT_IN) or BUILT_IN.get(name)
    if found is None:
        near = did_you_mean(name, method_names())
        raise ValueError(f"method must be one of {', '.join(method_names())}, or module:Class; got {name!r}{near}")
    return found


def option_names(name: str) -> list[str]:
    """The names of a method's options.

    Raises:
        ValueError: see :func:`method_class`.

    Example:
        >>> option_names("grpo")
        ['success_threshold', 'overlong', 'epsilon_low', 'epsilon_high']
    """
    return [option.name for option in fields(method_class(name)) if option.init]


def nearest_option(name: str, option: str, further: Iterable[str] = ()) -> str:
    """``": did you mean OPTION?"`` for an unknown option of a method, or ``""``.

    An option that another method has is answered with the one that has the same role here, if there is one: see
    :func:`~entroshape.methods.base.option`. Otherwise the nearest name decides.

    Args:
        name: the method.
        option: the unknown option.
        further: valid options besides the method's own.

    Example:
        >>> nearest_option("grpo_s", "alpha2"), nearest_option("gtpo", "alfa2")
        (': did you mean beta2?', ': did you mean alpha2?')
    """
    elsewhere = {each.metadata.get("role") for cls in BUILT_IN.values() for each in fields(cls) if each.name == option}
    own = fields(method_class(name))
    same = [each.name for each in own if each.metadata.get("role") in elsewhere - {None}]
    return f": did you mean {same[0]}?" if same else did_you_mean(option, [*option_names(name), *further])


def build_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Builds a method from its name and options, as configuration files and command lines give them.

    Args:
        name: a built-in method, one of an installed package, or ``module:Class``; see :func:`method_class`.
        options: plain values.

    Raises:
        ValueError: the name or an option is unknown (the message has the nearest and all valid ones), or a value is out
            of range.

    Example:
        >>> build_method("gtpo", {"alpha2": 0.2}).alpha2
        0.2
    """
    cls, valid = method_class(name), option_names(name)
    for option in options or {}:
        if option not in valid:
            near = nearest_option(name, option)
            has = " It has" if near else "; it has"
            raise ValueError(f"unknown option {option!r} of method {name!r}{near}{has} {', '.join(valid)}")
    given = dict(options or {})
    if isinstance(given.get("overlong"), Mapping):
        given["overlong"] = overlong_from_options(given["overlong"])
    if BUILT_IN.get(name) is not cls:
        return foreign_method(cls, name, given)
    if isinstance(given.get("entropy_clip"), list):
        given["entropy_clip"] = tuple(given["entropy_clip"])
    if cls is Sum and "terms" in given:
        given["terms"] = terms_from_options(given["terms"], build_method)
    return cls(**given)


def method_name(method: Method) -> str:
    """The name by which :func:`build_method` finds the class of ``method``.

    Example:
        >>> method_name(GRPO())
        'grpo'
    """
    cls = type(method)
    return cls.name if BUILT_IN.get(getattr(cls, "name", "")) is cls else foreign_name(cls)


def success_threshold(name: str, options: Mapping[str, Any]) -> float:
    """The ``success_threshold`` of a method with these options. Nothing from outside the package is imported.

    Raises:
        ValueError: the threshold is not a finite number.

    Example:
        >>> success_threshold("my_module:MyMethod", {"success_threshold": 0.8})
        0.8
    """
    threshold = options.get("success_threshold", BUILT_IN.get(name, Method).success_threshold)
    check_number("success_threshold", threshold, minimum=-MAX_REWARD, maximum=MAX_REWARD)
    return float(threshold)


def method_options(method: Method) -> dict[str, Any]:
    """All options of a method as plain values for :func:`build_method`, JSON and YAML.

    Example:
        >>> method_options(GRPO())
        {'success_threshold': 0.5, 'overlong': None, 'epsilon_low': 0.2, 'epsilon_high': 0.2}
    """
    options = {field.name: getattr(method, field.name) for field in fields(method) if field.init}
    if options["overlong"] is not None:
        options["overlong"] = overlong_to_options(options["overlong"])
    if isinstance(method, Sum):
        options["terms"] = terms_to_options(method.terms, lambda each: (method_name(each), method_options(each)))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


__all__ = [
    "BUILT_IN",
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
    "Stateful",
    "Sum",
    "Term",
    "build_method",
    "method_class",
    "method_name",
    "method_names",
    "method_options",
    "nearest_option",
    "option_names",
    "success_threshold",
]
