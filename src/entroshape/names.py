"""Names that users write: objects given as ``module:name``, and the nearest valid name to a mistyped one.

Needs only the standard library.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``": did you mean NAME?"`` with the nearest of ``names``, or ``""`` if none is near.

    Example:
        >>> did_you_mean("gpto", ["gtpo", "grpo", "dapo"])
        ': did you mean gtpo?'
        >>> did_you_mean("ppo", ["quantile"])
        ''
    """
    lower = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), lower, n=1)
    return f": did you mean {lower[close[0]]}?" if close else ""


def resolve(spec: str) -> Any:
    """Imports the object named ``module:name``. Modules in the current directory can be named too.

    Raises:
        ValueError: ``spec`` has another form, the module or name does not exist (the message lists what does), or the
            module cannot be imported.

    Example:
        >>> resolve("math:sqrt")(9)
        3.0
    """
    module_name, _, name = spec.partition(":")
    if not name or not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise ValueError(f"expected module:name, such as my_rewards:my_reward; got {spec!r}")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        # As `python -m` does. The entry stays, because the user's functions may import other modules when they run.
        sys.path.insert(0, here)
    value: Any = _import(module_name, here)
    for part in name.split("."):
        if not hasattr(value, part):
            raise ValueError(f"{_describe(value)} has no {part!r}; {_what_it_has(value, part)}")
        value = getattr(value, part)
    return value


def raised(error: BaseException) -> str:
    """The error, and the innermost place in the user's code at which it was raised."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen ")]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _import(module_name: str, here: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Checks that this module, or a package that contains it, is missing, and not one that it imports.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(f"module {module_name!r} cannot be imported: {raised(error)}") from error
        present = ", ".join(sorted(path.name for path in Path(here).glob("*.py"))) or "no .py files"
        raise ValueError(
            f"no module {error.name!r} on the Python path or in the current directory, {here}, which has {present}"
        ) from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"module {module_name!r} cannot be imported: {raised(error)}") from error


def _describe(value: Any) -> str:
    if isinstance(value, ModuleType):
        return f"module {value.__name__!r} ({getattr(value, '__file__', None) or 'built in'})"
    return repr(value)


def _what_it_has(value: Any, name: str) -> str:
    names = [each for each in dir(value) if not each.startswith("_")]
    close = get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(names[:40]) or 'nothing public'}"
