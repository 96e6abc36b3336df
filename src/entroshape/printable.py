"""Makes text from outside safe to show: control characters are replaced by their escape sequences."""

from __future__ import annotations

import logging
import sys
import warnings
from reprlib import Repr
from typing import Any

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 120
_SHORT.maxlevel = 3


def printable(text: str) -> str:
    r"""Text that cannot control a terminal: only printable characters and newlines are kept, others are escaped.

    Example:
        >>> print(printable("a\x1b[31mb\u202e\r\nc"))
        a\x1b[31mb\u202e\r
        c
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(text: str) -> str:
    r"""Printable text without line breaks.

    Example:
        >>> one_line("no such\n  file")
        'no such file'
    """
    return " ".join(part.strip() for part in printable(text).split("\n") if part.strip())


def shown(value: Any) -> str:
    """A value as an error message shows it: shortened to a few words, however large or nested it is.

    Example:
        >>> shown("x" * 10**6)[:8], len(shown([[0] * 10**5] * 10**5)) < 200
        ("'xxxxxxx", True)
    """
    return _SHORT.repr(value)


class _PrintableRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 - overrides logging's method
        return printable(super().getMessage())


def make_output_printable() -> None:
    """Makes log records and warnings printable, and escapes characters that the output streams cannot encode."""
    logging.setLogRecordFactory(_PrintableRecord)
    warnings.formatwarning = lambda message, *place, **more: f"warning: {one_line(str(message))}\n"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
