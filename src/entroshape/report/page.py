"""write_report: one HTML file with everything in it, that opens from disk and reaches for no network."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from entroshape import __version__
from entroshape.report.data import chart_data, page_data
from entroshape.runs import RunDirectory

SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "template/report.js")


def write_report(run_path: str | Path) -> Path:
    """Writes ``report.html`` into a run directory: what training changed, curves over steps, and all options.

    The charts are drawn by Observable Plot, which is bundled: the file needs nothing else. A run that is still going
    on, or was stopped, gets a report of what there is; a chart whose metrics are missing is left out.

    Args:
        run_path: the run's directory.

    Returns:
        The report's path.

    Raises:
        ValueError: not a run, or a file of it is damaged; the message names it.
    """
    run = RunDirectory.open(run_path)
    return run.write_report(render(page_data(run), chart_data(run)))


def render(page: dict[str, Any], charts: dict[str, Any]) -> str:
    """The report's HTML, from :func:`~entroshape.report.data.page_data` and :func:`~entroshape.report.data.chart_data`.

    All text is escaped. Only the scripts that are bundled here can run: the page's content security policy names their
    hashes, and lets nothing be loaded from anywhere.
    """
    scripts = [_asset(name) for name in SCRIPTS]
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(_asset("template/report.html")).render(
        **page,
        version=__version__,
        style=Markup(_asset("template/report.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(embedded_json(charts)),
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
    )


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
