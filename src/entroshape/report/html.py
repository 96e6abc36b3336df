"""One self-contained HTML page from a bundled template: inlined style and scripts, data as JSON, a strict policy."""

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
"""The chart library's scripts, in the order in which they load."""


def compose(
    template: str, *, styles: tuple[str, ...], scripts: tuple[str, ...], page: dict[str, Any], data: Any
) -> str:
    """A page's HTML. All text of ``page`` is escaped.

    Only the scripts that are bundled here can run: the page's content security policy names their hashes, and lets
    nothing be loaded from anywhere.

    Args:
        template: the Jinja template, a path below ``entroshape/report``.
        styles: the style sheets' paths.
        scripts: the scripts' paths, in the order in which they run.
        page: the template's own variables.
        data: what the scripts read from the page, as JSON.
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
    r"""JSON that can stand in a ``<script>`` element: no text in it can end the element or start another.

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
