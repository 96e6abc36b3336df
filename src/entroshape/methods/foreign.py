"""Methods from outside the package: installed under the entry-point group ``entroshape.methods``, or ``module:Class``.

Nothing of theirs is imported before their name is used. Their classes and options are checked here, because they may
not check themselves.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from entroshape.methods.base import Method
from entroshape.names import raised, resolve

GROUP = "entroshape.methods"
"""The entry-point group in which a package registers its methods, as ``name = "module:Class"``."""

_NAME = re.compile(r"[A-Za-z_][\w.-]*")


def installed_names() -> list[str]:
    """The names of methods that installed packages register. Nothing is imported."""
    return sorted(_installed(tuple(sys.path)))


def foreign_class(name: str, built_in: Mapping[str, type[Method]]) -> type[Method] | None:
    """The class of a method from outside the package, or ``None`` if there is none of this name.

    Args:
        name: the name of an entry point, or ``module:Class``.
        built_in: the package's own methods by name, which no entry point may shadow.

    Raises:
        ValueError: several entry points have this name, it is that of a built-in method or not a name at all, or what
            it names cannot be imported or is not a method that can be configured.
    """
    found = _installed(tuple(sys.path)).get(name, ())
    if not found:
        return _checked(resolve(name), name) if ":" in name and name not in built_in else None
    places = " and ".join(f"{each.value} of {each.dist.name if each.dist else 'a package'}" for each in found)
    if name in built_in:
        raise ValueError(
            f"method {name!r} is built in, and an entry point of the group {GROUP} shadows it: {places}; rename the "
            "entry point or uninstall its package"
        )
    if len(found) > 1:
        raise ValueError(
            f"method {name!r} has several entry points in the group {GROUP}: {places}; uninstall all but one, or write "
            "module:Class"
        )
    if not _NAME.fullmatch(name):
        raise ValueError(f"method {name!r} ({places}): names of entry points may have letters, digits, '_', '-', '.'")
    return _checked(resolve(_target(found[0])), name)


def foreign_name(cls: type[Method]) -> str:
    """The name by which :func:`foreign_class` finds ``cls``: its only entry point, otherwise ``module:Class``."""
    spec = f"{cls.__module__}:{cls.__qualname__}"
    names = [name for name, found in _installed(tuple(sys.path)).items() if [_target(each) for each in found] == [spec]]
    return names[0] if names else spec


def foreign_method(cls: type[Method], name: str, options: Mapping[str, Any]) -> Method:
    """Builds a method from outside the package, after a check of its options against their annotations.

    Raises:
        ValueError: a value does not fit its annotation, an option without a default is missing, or the class refuses
            the options; the message names the method.
    """
    try:
        hints = get_type_hints(cls)
    except Exception as error:
        raise ValueError(f"method {name!r}: its annotations cannot be evaluated: {raised(error)}") from error
    given = {option: _fitting(f"{option} of {name}", value, hints[option]) for option, value in options.items()}
    for option in _required(cls):
        if option.name not in given:
            raise ValueError(f"{option.name} of {name} has no default and must be given")
    try:
        return cls(**given)
    except ValueError as error:
        raise ValueError(f"method {name!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"method {name!r} cannot be built from its options: {raised(error)}") from error


@cache
def _installed(path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points by name, for this Python path."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for each in entry_points(group=GROUP):
        found[each.name] = (*found.get(each.name, ()), each)
    return found


def _target(point: EntryPoint) -> str:
    """``module:Class`` of an entry point, without the extras that may follow."""
    return point.value.partition("[")[0].strip()


def _checked(value: Any, name: str) -> type[Method]:
    """``value`` as a class of methods.

    Raises:
        ValueError: it is none, or options could get lost: the dataclass decorator is missing or not frozen and
            keyword-only, or ``success_threshold`` has another default, which an evaluation does not know.
    """
    if not (inspect.isclass(value) and issubclass(value, Method)):
        raise ValueError(f"method {name!r} must be a subclass of entroshape.Method; got {value!r}")
    if abstract := sorted(value.__abstractmethods__):
        raise ValueError(f"method {name!r} must define {' and '.join(abstract)}; {value.__name__} does not")
    decorated = "__dataclass_params__" in vars(value) and all(option.kw_only for option in fields(value))
    if not decorated:
        raise ValueError(f"method {name!r} must have the decorator @dataclass(frozen=True, kw_only=True)")
    if value.success_threshold != Method.success_threshold:
        raise ValueError(
            f"method {name!r} must keep success_threshold={Method.success_threshold}, because evaluations do not "
            f"import it; got the default {value.success_threshold!r}. Set the option instead"
        )
    return value


def _required(cls: type[Method]) -> list[Field[Any]]:
    return [each for each in fields(cls) if each.init and each.default is MISSING and each.default_factory is MISSING]


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """``value`` for an option annotated with ``hint``; lists become tuples where it says so.

    Raises:
        ValueError: the value does not fit. Annotations other than those below are left to the class.
    """
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any(_fits(value, each) for each in choices):
        as_tuple = isinstance(value, list) and not any(get_origin(each) is list or each is list for each in choices)
        return tuple(value) if as_tuple and any(get_origin(each) is tuple for each in choices) else value
    shown = " or ".join(_described(each) for each in choices)
    raise ValueError(f"{name} must be {shown}; got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float:
        return number and -math.inf < value < math.inf
    if hint is int:
        return number and isinstance(value, int)
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is NoneType:
        return value is None
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple)
    return not inspect.isclass(hint) or isinstance(value, hint)


def _described(hint: Any) -> str:
    named = {float: "a finite number", int: "a whole number", bool: "True or False", str: "text", NoneType: "None"}
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) is tuple:
        return "a list"
    return named.get(hint, getattr(hint, "__name__", str(hint)))
