"""write_report: one HTML file with everything in it, that opens from disk and reaches for no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entroshape.report.credit import credit_data
from entroshape.report.data import chart_data, page_data
from entroshape.report.html import CHARTS, compose
from entroshape.runs import RunDirectory

SCRIPTS = (*CHARTS, "template/report.js", "template/credit.js")
STYLES = ("template/report.css", "template/credit.css")


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
    return run.write_report(render(page_data(run), {**chart_data(run), "credit": credit_data(run)}))


def render(page: dict[str, Any], charts: dict[str, Any]) -> str:
    """The report's HTML, from the pages and charts of :mod:`entroshape.report.data`."""
    return compose("template/report.html", styles=STYLES, scripts=SCRIPTS, page=page, data=charts)
