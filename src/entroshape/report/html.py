"""Renders a self-contained HTML page from a bundled template, with inlined styles, scripts and JSON data."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from entroshape import __version__

CHARTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js")
"""The scripts of the chart library, in loading order."""


def compose(
    template: str, *, styles: tuple[str, ...], scripts: tuple[str, ...], page: dict[str, Any], data: Any
) -> str:
    """Renders the HTML of a page. All text in ``page`` is escaped.

    Only the bundled scripts can run: the page's content security policy allows their hashes and loads nothing else.

    Args:
        template: the Jinja template, as a path below ``entroshape/report``.
        styles: paths of the style sheets.
        scripts: paths of the scripts, in the order in which they run.
        page: variables of the template.
        data: embedded in the page as JSON, for the scripts.
    """
    texts = [_asset(name) for name in scripts]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(_asset(template)).render(
        **page,
        version=__version__,
        style=Markup("\n".join(map(_asset, styles))),
        scripts=[Markup(text) for text in texts],
        data=Markup(embedded_json(data)),
        policy=" ".join(f"'sha256-{_digest(text)}'" for text in texts),
    )
    # Half a surrogate pair, as in the name of a file that is not UTF-8, has no place in a file that is.
    return html.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def embedded_json(value: Any) -> str:
    r"""JSON that is safe in a ``<script>`` element: no text in it can end the element or start another.

    Example:
        >>> print(embedded_json({"text": "</script>"}))
        {"text":"\u003c/script\u003e"}
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return files("entroshape.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
