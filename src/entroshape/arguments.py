"""A command line as a dataclass of options, by tyro, for every command alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import tyro

from entroshape.printable import printable


def parse_arguments(options: Any, command: str, arguments: Sequence[str], **of_tyro: Any) -> Any:
    """What ``tyro.cli`` gives for the options of ``entroshape command``.

    What it says of an argument that it refuses quotes the argument, and is printed as harmless text.

    Raises:
        SystemExit: 2 for what is refused, 0 behind ``--help``.
        ValueError: whatever the dataclass refuses, where tyro does not say it itself.
    """
    said = StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                options,
                prog=f"entroshape {command}",
                args=list(arguments),
                config=(tyro.conf.FlagCreatePairsOff,),
                **of_tyro,
            )
    finally:
        sys.stderr.write(printable(said.getvalue()))
