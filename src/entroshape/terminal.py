"""The console of every command: our own words and colours, and no command that somebody's text holds.

Paths, names and a model's tokens come from outside. Square brackets in them are no markup, and control characters are
shown by name. All output to a terminal goes through this console.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import TextColumn
from rich.segment import Segment
from rich.text import Text

from entroshape.printable import printable


class PlainConsole(Console):
    """A console of rich without markup, emoji codes or highlighting, whatever is printed on it.

    Args:
        options: those of :class:`rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it stands, made printable before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As in rich; what is no string, such as a ``Text`` or a progress column, is made printable here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def text_column(text: str) -> TextColumn:
    """A column of a progress bar whose fields are no markup."""
    return TextColumn(text, markup=False)
