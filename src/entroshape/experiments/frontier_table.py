"""The figures beyond the hull as rows of text, for the terminal and for ``comparison.html``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.table import Table
from rich.text import Text

from entroshape.experiments.frontier import ArmFrontier, FrontierFigure, record_points, summarize_frontier
from entroshape.experiments.primary import exploratory_arms
from entroshape.experiments.results import Comparison
from entroshape.experiments.statistics import spread
from entroshape.metrics.points import choice_half, report_half
from entroshape.metrics.wording import wording

WEIGHTS = {"": "", "-ema": "mean of the weights", "-mix": "mixtures", "-mix-ema": "mixtures with the mean"}
"""The rows of an arm: the end of the names of their figures, and the words for their weights."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A figure as text."""

    text: str
    interval: str = ""
    clear: bool = False
    """Whether the figure is significant at 5 % when all arms are tested together."""


@dataclass(frozen=True, kw_only=True)
class FrontierRow:
    """The figures of an arm with one kind of weights."""

    arm: str
    weights: str
    """Kind of weights in words; empty for the last weights."""

    seeds: int
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class FrontierText:
    """The table of figures beyond the hull."""

    columns: list[str]
    short: list[str]
    """Short names of the columns that hold figures beyond the hull, which are the last ones."""

    rows: list[FrontierRow]
    notes: list[str]
    """Sentences on what was chosen, what is reported, and what the marks mean."""


def frontier_text(comparison: Comparison) -> FrontierText | None:
    """The table as text; ``None`` if the comparison has no figures beyond the hull."""
    summaries = summarize_frontier(comparison)
    names = {name for each in summaries for name in each.figures}
    tries = sorted({int(name.partition("@")[2]) for name in names if name.startswith("above-hull")})
    if not tries:
        return None
    most = tries[-1]
    plain = [name for name in comparison.metrics() if name.startswith("mean@") or name == f"pass@{most}"]
    kinds = [*(f"above-hull{{}}@{k}" for k in tries), f"mean-above-hull{{}}@{most}", f"area-beyond-hull{{}}@{most}"]
    rows = []
    later = exploratory_arms(comparison)
    for each in summaries:
        for suffix, words in WEIGHTS.items():
            figures = [each.figures.get(kind.format(suffix)) for kind in [*kinds, "greedy{}"]]
            if suffix == "" or any(figures):
                first = [_plain(comparison, each.arm, name) if suffix == "" else Cell(text="") for name in plain]
                rows.append(_row(each, words, first, figures))
        wide = [each.figures.get(f"above-wide-hull@{k}") for k in tries]
        if any(wide):
            rows.append(_row(each, "all weights *", [Cell(text="")] * len(plain), [*wide, None, None, None]))
    columns = [*(wording(name).label for name in plain), *(wording(kind.format("")).label for kind in kinds), "Greedy"]
    rows = [replace(row, arm=f"{row.arm} (exploratory)") if row.arm in later else row for row in rows]
    short = [*(f"Pass@{k}" for k in tries), "Mean", "Area", "Greedy"]
    return FrontierText(columns=columns, short=short, rows=rows, notes=_notes(comparison, rows, summaries))


def frontier_table(comparison: Comparison) -> list[Table | Text]:
    """The table for the terminal with its notes; empty if the comparison has no figures beyond the hull."""
    text = frontier_text(comparison)
    if text is None:
        return []
    table = Table(
        title="Above the hull, in percentage points, with 95 % intervals over seeds",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("", overflow="fold")
    for column in ("seeds", *text.short):
        table.add_column(column, justify="right")
    for row in text.rows:
        name = Text.assemble(row.arm, (f"\n{row.weights}" if row.weights else "", "dim"))
        table.add_row(name, str(row.seeds), *map(_rich, row.cells[-len(text.short) :]))
    most = text.short[-4]
    columns = f"Pass@k: at equal Mean. Mean: at equal {most}. Area: between both hulls in {most}, in squared points."
    return [table, Text("\n".join([columns, *text.notes]), style="dim")]


def _row(
    summary: ArmFrontier, weights: str, plain: Sequence[Cell], figures: Sequence[FrontierFigure | None]
) -> FrontierRow:
    seeds = max((len(figure.values) for figure in summary.figures.values()), default=0)
    return FrontierRow(arm=summary.arm, weights=weights, seeds=seeds, cells=[*plain, *map(_cell, figures)])


def _plain(comparison: Comparison, arm: str, name: str) -> Cell:
    values = list(comparison.values(arm, name).values())
    over = spread(values) if values else None
    return Cell(text=wording(name).with_error(over.mean, over.se) if over else "-")


def _cell(figure: FrontierFigure | None) -> Cell:
    if figure is None:
        return Cell(text="-")
    words, difference = wording(figure.metric), figure.difference
    greedy = figure.metric.startswith("greedy")
    text = words.value(spread(list(figure.values.values())).mean) if greedy else ""
    if difference is None:
        return Cell(text=text)
    mark = " †" if figure.nearest else ""
    number = words.number(difference.mean, signed=True)
    interval = words.over_seeds(difference.low, difference.high)
    if greedy:
        interval = f"{number} ({interval})"
    return Cell(text=text or f"{number}{mark}", interval=interval, clear=figure.clear)


def _rich(cell: Cell) -> Text:
    return Text.assemble(
        (cell.text, "bold" if cell.clear else ""), (f"\n{cell.interval}" if cell.interval else "", "dim")
    )


def _notes(comparison: Comparison, rows: Sequence[FrontierRow], summaries: Sequence[ArmFrontier]) -> list[str]:
    problems = max(point.problems for record in comparison.records for point in record_points(record))
    notes = [
        f"The hull: every coin between two points of the start over temperatures and of {comparison.baseline} over "
        "temperatures and steps. A method inside it gives no more than sampling differently does.",
        f"Chosen on {len(choice_half(problems))} held-out problems: the method's point and the pair of the coin. "
        f"Reported on the other {len(report_half(problems))}: there, only the weight of the coin follows, from equal "
        "Mean or Pass.",
        "-: all points of the baseline are part of its own hull, so it has no margin. Greedy: below the rate, the "
        "difference to the baseline.",
    ]
    if any(figure.nearest for each in summaries for figure in each.figures.values()):
        notes.append("†: in some seeds no coin has equal Mean (Pass) on the report half; the nearest one is used.")
    if any(row.weights.endswith("*") for row in rows):
        notes.append("*: against the hull of all weights of the baseline, with their means and mixtures.")
    return notes
