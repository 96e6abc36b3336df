"""The figures beyond the hull as data of ``comparison.html``: the plane, the table, and rows of the forest plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from entroshape.experiments.frontier import (
    ArmFrontier,
    FrontierFigure,
    in_frontier_order,
    record_points,
    summarize_frontier,
)
from entroshape.experiments.frontier_table import frontier_text
from entroshape.experiments.results import Comparison
from entroshape.experiments.statistics import Difference, reach
from entroshape.metrics.points import EvaluationPoint, reported_tries
from entroshape.metrics.wording import counted, wording
from entroshape.report.plane import mean_label, plane_curves, plane_hull


def frontier_data(comparison: Comparison) -> dict[str, Any] | None:
    """The data of the page; ``None`` if the comparison has no figures beyond the hull.

    Returns:
        ``plane``, ``table``, and for the forest plot ``metrics``, and ``differences`` and ``seeds`` by arm.
    """
    table = frontier_text(comparison)
    if table is None:
        return None
    summaries = summarize_frontier(comparison)
    primary = comparison.declared.primary if comparison.declared else None
    names = [name for name in _forest_metrics(summaries, primary) if not name.startswith("area")]
    return {
        "plane": plane_data(comparison),
        "table": asdict(table),
        "metrics": [{"name": name, "label": wording(name).label, "share": True, "axis": _axis(name)} for name in names],
        "differences": {each.arm: _differences(each, names) for each in summaries},
        "seeds": {each.arm: {name: _seeds(each, name, summaries) for name in names} for each in summaries},
    }


def _forest_metrics(summaries: Sequence[ArmFrontier], primary: str | None) -> list[str]:
    """The primary metric if it is among the figures, and those of the last weights in their order."""
    names = in_frontier_order({name for each in summaries for name in each.figures})
    plain = [name for name in names if not name.partition("@")[0].endswith(("-ema", "-mix")) and name != primary]
    return [*([primary] if primary in names else []), *plain]


def _axis(name: str) -> str:
    label = wording(name).label
    return f"{'difference in ' if name == 'greedy' else ''}{label}, percentage points"


def _differences(summary: ArmFrontier, names: Sequence[str]) -> dict[str, Any]:
    figures = {name: summary.figures[name] for name in names if name in summary.figures}
    return {
        name: {
            "mean": figure.difference.mean,
            "low": figure.difference.low,
            "high": figure.difference.high,
            "stands": figure.clear,
            "tip": [*_heading(summary, figure, figure.difference), *_chosen(figure)],
        }
        for name, figure in figures.items()
        if figure.difference is not None
    }


def _heading(summary: ArmFrontier, figure: FrontierFigure, difference: Difference) -> list[str]:
    words = wording(figure.metric)
    interval = words.over_seeds(difference.low, difference.high)
    adjusted = [f"adjusted p: {figure.adjusted:.2g}"] if figure.adjusted is not None else []
    return [
        f"{summary.arm} - {summary.against if figure.metric == 'greedy' else f'hull of {summary.against}'}",
        f"{words.difference(difference.mean)} ({interval})",
        counted(difference.n, "seed"),
        *adjusted,
    ]


def _chosen(figure: FrontierFigure) -> list[str]:
    """What was chosen in most seeds."""
    if not figure.margins:
        return []
    points = Counter(margin.point.name for margin in figure.margins.values())
    pairs = Counter(
        " + ".join(sorted({margin.coin.first.name, margin.coin.second.name})) for margin in figure.margins.values()
    )
    lines = []
    for words, counts in (("point", points), ("coin of", pairs)):
        (name, count), *_ = counts.most_common(1)
        lines.append(
            f"{words}: {name}" + (f" ({count} of {len(figure.margins)} seeds)" if len(figure.margins) > 1 else "")
        )
    return lines + ([f"nearest coin in {figure.nearest} seeds"] if figure.nearest else [])


def _seeds(summary: ArmFrontier, name: str, summaries: Sequence[ArmFrontier]) -> list[float]:
    """The differences of single seeds."""
    figure = summary.figures.get(name)
    if figure is None or figure.difference is None:
        return []
    if name != "greedy":
        return list(figure.values.values())
    zero = next(each.figures[name].values for each in summaries if each.arm == summary.against)
    return [value - zero[seed] for seed, value in figure.values.items() if seed in zero]


def plane_data(comparison: Comparison) -> dict[str, Any]:
    """Curves of all arms and of the start, and the hull of the baseline, on all held-out problems.

    The comparison has points over several temperatures.
    """
    runs: dict[str, dict[int, Sequence[EvaluationPoint]]] = {}
    for record in comparison.records:
        if points := record_points(record):
            runs.setdefault(record["arm"], {})[record["seed"]] = points
    every = [point for by_seed in runs.values() for points in by_seed.values() for point in points]
    tries = reported_tries(every)
    first = comparison.baseline if comparison.baseline in runs else next(iter(runs))
    hulls = {seed: _of(points, "start", "last") for seed, points in runs[first].items()}
    start = {seed: _of(points, "start") for seed, points in runs[first].items()}
    return {
        "tries": [{"k": str(k), "label": wording(f"pass@{k}").label} for k in reversed(tries)],
        "x": mean_label(every),
        "curves": [
            *({"arm": "start", "start": True, **curve} for curve in plane_curves(start, tries, "start")),
            *(
                {"arm": arm, "start": False, **curve}
                for arm, by_seed in runs.items()
                for curve in plane_curves({seed: _trained(own) for seed, own in by_seed.items()}, tries, arm)
            ),
        ],
        "hull": plane_hull(hulls, tries, f"hull of the start and {first}", lambda values: float(reach(values))),
    }


def _of(points: Sequence[EvaluationPoint], *weights: str) -> list[EvaluationPoint]:
    return [point for point in points if point.weights in weights]


def _trained(points: Sequence[EvaluationPoint]) -> list[EvaluationPoint]:
    return [point for point in points if point.weights != "start"]
