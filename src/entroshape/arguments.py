"""Parses a command line into a dataclass of options with tyro, in the same way for all commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import tyro

from entroshape.printable import printable


def parse_arguments(options: Any, command: str, arguments: Sequence[str], **of_tyro: Any) -> Any:
    """Parses the options of ``entroshape command`` with ``tyro.cli``.

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
                **of_tyro,
            )
    finally:
        sys.stderr.write(printable(errors.getvalue()))
