"""write_report: one self-contained HTML file that opens from disk and needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entroshape.report.credit import credit_data
from entroshape.report.data import chart_data, page_data
from entroshape.report.html import CHARTS, compose
from entroshape.runs import RunDirectory

SCRIPTS = (*CHARTS, *(f"template/{name}.js" for name in ("text", "plane", "kinds", "report", "credit")))
STYLES = ("template/report.css", "template/credit.css")


def write_report(run_path: str | Path) -> Path:
    """Writes ``report.html`` into a run directory: what training changed, curves over steps, and all options.

    The charts are drawn by Observable Plot, which is included in the file. An unfinished run gets a report of its data
    so far. Charts with missing metrics are left out.

    Args:
        run_path: the run directory.

    Returns:
        The path of the report.

    Raises:
        ValueError: the directory is not a run, or one of its files is damaged; the message names it.
    """
    run = RunDirectory.open(run_path)
    return run.write_report(render(page_data(run), {**chart_data(run), "credit": credit_data(run)}))


def render(page: dict[str, Any], charts: dict[str, Any]) -> str:
    """Renders the HTML of the report from the data of :mod:`entroshape.report.data`."""
    return compose("template/report.html", styles=STYLES, scripts=SCRIPTS, page=page, data=charts)
