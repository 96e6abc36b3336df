"""Text from outside as it may be shown: control characters are written as what they are called, and do nothing."""

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
    r"""Text that can do nothing to a terminal: all but printable characters and newlines as what they are called.

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
    """A value as an error message shows it: at most a few words of it, however large or deep it is.

    Example:
        >>> shown("x" * 10**6)[:8], len(shown([[0] * 10**5] * 10**5)) < 200
        ("'xxxxxxx", True)
    """
    return _SHORT.repr(value)


class _PrintableRecord(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 - the name that logging gives it
        return printable(super().getMessage())


def make_output_printable() -> None:
    """Makes what libraries log or warn of printable, and a character that the output cannot encode no error."""
    logging.setLogRecordFactory(_PrintableRecord)
    warnings.formatwarning = lambda message, *place, **more: f"warning: {one_line(str(message))}\n"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
