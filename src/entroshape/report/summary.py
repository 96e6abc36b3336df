"""summary_table: what training changed on held-out problems, for the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from entroshape.report.outcome import Changes, Metrics, outcome_rows


def summary_table(before: Metrics, after: Metrics, *, changes: Changes | None = None) -> Table:
    """A table of Mean@n, Pass@k, entropy, length and share cut before and after training.

    Args:
        before: metrics before training, see :func:`entroshape.evaluation.evaluation_metrics`.
        after: metrics after training.
        changes: see :func:`entroshape.evaluation.paired_changes`. ``None``: changes are shown without intervals.

    Example:
        >>> from rich.console import Console
        >>> first = {"mean@4": 0.1, "mean@4_low": 0.08, "mean@4_high": 0.13, "problems": 64.0, "samples": 4.0}
        >>> Console(width=100).print(summary_table(first, {**first, "mean@4": 0.2}))   # doctest: +SKIP
    """
    table = Table(
        title=_title(after), title_justify="left", title_style="bold", caption_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("", no_wrap=True)
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right")
    rows = outcome_rows(before, after, changes)
    for row in rows:
        table.add_row(
            row.label,
            _cell(row.before, row.before_interval),
            _cell(row.after, row.after_interval, style="bold"),
            _cell(row.change, row.change_interval, style="green" if row.clear else ""),
        )
    if any(row.after_interval for row in rows):
        table.caption = "second lines: 95 % intervals over problems"
    return table


def _cell(value: str, interval: str, style: str = "") -> Text:
    return Text.assemble((value, style), (f"\n{interval}" if interval else "", "dim"))


def _title(metrics: Metrics) -> str:
    if not {"problems", "samples"} <= metrics.keys():
        return "Held-out problems"
    return f"{metrics['problems']:.0f} held-out problems, {metrics['samples']:.0f} completions each"
