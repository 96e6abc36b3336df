"""Checks that the host functions that an engine overrides or calls exist and still take the parameters it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def check_seam(
    name: str, function: Callable[..., Any] | None, parameters: Sequence[str], *, host: str, supported: str
) -> None:
    """Raises ``ImportError`` if a function of the host is missing or lacks a parameter.

    Args:
        name: name of the function in messages.
        function: the host's function of this name; ``None`` if there is none.
        parameters: parameters that the engine needs.
        host: the installed host with its version.
        supported: the supported versions.
    """
    found = [] if function is None else list(inspect.signature(function).parameters)
    missing = [parameter for parameter in parameters if parameter not in found]
    if function is None or missing:
        lack = "does not have it" if function is None else f"has it without {', '.join(missing)}"
        raise ImportError(
            f"entroshape relies on {name}({', '.join(parameters)}), but {host} {lack}. Supported: {supported}. "
            "Install a supported version, or upgrade entroshape."
        )
