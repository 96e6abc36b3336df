"""The check of a host's seams: what an engine overrides or calls must still take the parameters it relies on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def check_seam(
    name: str, function: Callable[..., Any] | None, parameters: Sequence[str], *, host: str, supported: str
) -> None:
    """Raise ``ImportError`` if a seam is gone, or has lost a parameter.

    Args:
        name: the seam, as messages write it.
        function: what the host has under that name; ``None`` if it has nothing.
        parameters: what the engine relies on.
        host: the installed host with its version.
        supported: the versions that the engine is written for.
    """
    found = [] if function is None else list(inspect.signature(function).parameters)
    missing = [parameter for parameter in parameters if parameter not in found]
    if function is None or missing:
        lack = "does not have it" if function is None else f"has it without {', '.join(missing)}"
        raise ImportError(
            f"entroshape relies on {name}({', '.join(parameters)}), but {host} {lack}. Supported: {supported}. "
            "Install that, or look for a newer entroshape."
        )
