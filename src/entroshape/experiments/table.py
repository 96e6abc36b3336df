"""A comparison for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from entroshape.experiments.comparison import ArmSummary, Comparison, is_share, summarize
from entroshape.experiments.statistics import Difference, Spread

SHOWN_KINDS = ("mean@", "majority@", "pass@")


def comparison_table(comparison: Comparison) -> Group:
    """Means with standard errors, paired differences with their intervals, and what they would take to show."""
    summaries = summarize(comparison)
    parts: list[Table | Text] = [_means(comparison, summaries), *_differences(comparison, summaries)]
    if len(parts) > 1:
        parts.append(Text(_caution(comparison, summaries), style="dim"))
    return Group(*parts)


def shown_metrics(comparison: Comparison) -> list[str]:
    """Metrics of right answers: Mean@n, majority@n, and Pass@k but Pass@1, which is Mean@n again."""
    return [name for name in comparison.metrics() if name.startswith(SHOWN_KINDS) and name != "pass@1"]


def resolved(summary: ArmSummary, metric: str) -> bool:
    """Whether the difference stands when all arms' differences in the metric are judged together."""
    return summary.adjusted.get(metric, 1.0) < 0.05


def counted(number: int, noun: str) -> str:
    """A number of things, as people write it.

    Example:
        >>> counted(1, "run"), counted(2, "run")
        ('1 run', '2 runs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _means(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    metrics = [*shown_metrics(comparison), *(n for n in ("entropy", "length") if n in comparison.metrics())]
    table = Table(title="After training: mean over seeds ± standard error", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("seeds", justify="right")
    for metric in metrics:
        table.add_column(metric, justify="right")
    start = summaries[0].before if summaries else {}
    table.add_row("before", "", *(_number(start[name].mean, name) if name in start else "" for name in metrics))
    for summary in summaries:
        cells = [_mean(summary.after.get(metric), metric) for metric in metrics]
        seeds = max((each.n for each in summary.after.values()), default=0)
        table.add_row(Text(summary.arm), str(seeds), *cells)
    return table


def _differences(comparison: Comparison, summaries: Sequence[ArmSummary]) -> list[Table]:
    compared = [summary for summary in summaries if summary.differences]
    if not compared:
        return []
    table = Table(
        title="Differences, seed by seed, with 95 % intervals over seeds", title_justify="left", box=box.SIMPLE_HEAD
    )
    for column in ("", "against", "metric", "difference", "95 % interval", "seeds needed"):
        table.add_column(column, justify="left" if column in ("", "against", "metric") else "right")
    for summary in compared:
        for place, metric in enumerate(shown_metrics(comparison)):
            if metric in summary.differences:
                first = (Text(summary.arm), Text(summary.against or "")) if not place else ("", "")
                table.add_row(*first, metric, *_difference(summary.differences[metric], metric, summary))
    return [table]


def _difference(difference: Difference, metric: str, summary: ArmSummary) -> tuple[Text, str, str]:
    style = "bold" if resolved(summary, metric) else ""
    interval = "one seed"
    if difference.low is not None and difference.high is not None:
        interval = f"{_number(difference.low, metric, sign=True)} to {_number(difference.high, metric, sign=True)}"
    needed = "" if difference.n == 1 else str(difference.seeds_needed or "> 100,000")
    return Text(_number(difference.mean, metric, sign=True), style), interval, needed


def _mean(value: Spread | None, metric: str) -> str:
    if value is None:
        return ""
    error = "" if value.se is None else f" ± {_number(value.se, metric)}"
    return f"{_number(value.mean, metric)}{error}"


def _number(value: float, metric: str, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.1f}%" if is_share(metric) else f"{value:{plus}.3g}"


def _caution(comparison: Comparison, summaries: Sequence[ArmSummary]) -> str:
    tests = sum(len(summary.adjusted) for summary in summaries if summary.differences)
    metrics = len(shown_metrics(comparison))
    arms = sum(bool(summary.differences) for summary in summaries)
    if not tests:
        return "One seed says nothing about the others: run more, --seeds 5."
    together = f" when the {arms} arms are judged together, metric by metric (Holm)" if arms > 1 else ""
    return (
        f"bold: stands at 5 %{together}. Of {counted(arms * metrics, 'interval')}, about {0.05 * arms * metrics:.1f} "
        "miss the truth by chance. Seeds needed: with so many, a true difference of the size seen would show with a "
        "chance of 80 %."
    )
