"""The tables of a comparison for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from entroshape.experiments.frontier_table import frontier_table
from entroshape.experiments.primary import declaration_notes, exploratory_arms
from entroshape.experiments.results import ArmSummary, Comparison, summarize
from entroshape.experiments.statistics import Difference, Spread
from entroshape.metrics.wording import counted, wording

SHOWN_KINDS = ("mean@", "majority@", "pass@")


def comparison_table(comparison: Comparison) -> Group:
    """Means with standard errors, paired differences with intervals, the seeds needed, and figures beyond the hull."""
    summaries = summarize(comparison)
    parts: list[Table | Text] = [_means(comparison, summaries), *_differences(comparison, summaries)]
    if len(parts) > 1:
        parts.append(Text(_caution(comparison, summaries), style="dim"))
    parts.extend(frontier_table(comparison))
    parts.append(Text("\n".join(declaration_notes(comparison))))
    return Group(*parts)


def shown_metrics(comparison: Comparison) -> list[str]:
    """Metrics of success: Mean@n, majority@n, and Pass@k without Pass@1, which equals Mean@n."""
    return [name for name in comparison.metrics() if name.startswith(SHOWN_KINDS) and name != "pass@1"]


def resolved(summary: ArmSummary, metric: str) -> bool:
    """Whether the difference is significant when all arms are tested together in this metric."""
    return summary.adjusted.get(metric, 1.0) < 0.05


def seeds_needed_text(difference: Difference) -> str:
    """The number of seeds needed to detect the difference; empty for one seed, which does not determine it."""
    if difference.n == 1:
        return ""
    return "> 100,000" if difference.seeds_needed is None else f"{difference.seeds_needed:,}"


def _means(comparison: Comparison, summaries: Sequence[ArmSummary]) -> Table:
    metrics = [*shown_metrics(comparison), *(n for n in ("entropy", "length") if n in comparison.metrics())]
    table = Table(title="After training: mean over seeds ± standard error", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("seeds", justify="right")
    for metric in metrics:
        table.add_column(wording(metric).label, justify="right")
    start = summaries[0].before if summaries else {}
    table.add_row("before", "", *(wording(name).value(start[name].mean) if name in start else "" for name in metrics))
    marks = dict.fromkeys(exploratory_arms(comparison), " (exploratory)")
    for summary in summaries:
        cells = [_mean(summary.after.get(metric), metric) for metric in metrics]
        seeds = max((each.n for each in summary.after.values()), default=0)
        table.add_row(Text(summary.arm + marks.get(summary.arm, "")), str(seeds), *cells)
    return table


def _differences(comparison: Comparison, summaries: Sequence[ArmSummary]) -> list[Table]:
    compared = [summary for summary in summaries if summary.differences]
    if not compared:
        return []
    table = Table(
        title="Differences in percentage points, seed by seed, with 95 % intervals over seeds",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for column in ("", "against", "metric", "difference", "95 % interval", "seeds needed"):
        table.add_column(column, justify="left" if column in ("", "against", "metric") else "right")
    for summary in compared:
        for place, metric in enumerate(shown_metrics(comparison)):
            if metric in summary.differences:
                first = (Text(summary.arm), Text(summary.against or "")) if not place else ("", "")
                table.add_row(*first, wording(metric).label, *_difference(summary.differences[metric], metric, summary))
    return [table]


def _difference(difference: Difference, metric: str, summary: ArmSummary) -> tuple[Text, str, str]:
    style = "bold" if resolved(summary, metric) else ""
    words = wording(metric)
    interval = words.over_seeds(difference.low, difference.high)
    return Text(words.number(difference.mean, signed=True), style), interval, seeds_needed_text(difference)


def _mean(value: Spread | None, metric: str) -> str:
    return "" if value is None else wording(metric).with_error(value.mean, value.se)


def _caution(comparison: Comparison, summaries: Sequence[ArmSummary]) -> str:
    tests = sum(len(summary.adjusted) for summary in summaries if summary.differences)
    metrics = len(shown_metrics(comparison))
    arms = sum(bool(summary.differences) for summary in summaries)
    if not tests:
        return "One seed says nothing about the spread between seeds. Run more, for example --seeds 5."
    together = f" when the {arms} arms are tested together, for each metric (Holm)" if arms > 1 else ""
    return (
        f"bold: significant at 5 %{together}. Of {counted(arms * metrics, 'interval')}, about "
        f"{0.05 * arms * metrics:.1f} miss the true value by chance. Seeds needed: the number that would detect a true "
        "difference of the observed size with a probability of 80 %."
    )
