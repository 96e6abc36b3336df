"""The console of all commands, which shows text from outside without interpreting it.

Paths, names and a model's tokens come from outside. Square brackets in them are not markup, and control characters are
shown as escape sequences. All output to a terminal goes through this console.
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
    """A rich console that never interprets markup or emoji codes and highlights nothing.

    Args:
        options: those of :class:`rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Renders the text literally; it is made printable before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As in rich; renderables that are not strings, such as ``Text`` or a progress column, are made printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def text_column(text: str) -> TextColumn:
    """A progress bar column without markup."""
    return TextColumn(text, markup=False)
