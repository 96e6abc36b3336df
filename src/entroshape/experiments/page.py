"""comparison.html: curves of the arms with bands over seeds, and their differences as a forest plot, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entroshape.experiments.frontier_page import frontier_data
from entroshape.experiments.primary import declaration_notes
from entroshape.experiments.record import CURVES
from entroshape.experiments.results import ArmSummary, Comparison, shared_options, summarize
from entroshape.experiments.statistics import Difference, Spread, reach
from entroshape.experiments.table import resolved, seeds_needed_text, shown_metrics
from entroshape.metrics.wording import counted, wording
from entroshape.report.html import CHARTS, compose
from entroshape.runs.files import write_aside

SCRIPTS = (*CHARTS, "template/plane.js", "template/comparison.js")
FILE = "comparison.html"
Records = Sequence[dict[str, Any]]
Point = dict[str, Any]
"""``x``, ``mean``, ``low`` and ``high`` for drawing, and ``text``, the displayed mean."""

MAX_POINTS = 200
"""Longer curves are drawn as means over equal stretches of steps."""


def write_page(comparison: Comparison, directory: Path) -> Path:
    """Writes ``comparison.html`` into a directory. The file is self-contained and needs no network.

    Returns:
        The path of the file.
    """
    data = page_data(comparison)
    html = compose(
        "template/comparison.html",
        styles=("template/report.css",),
        scripts=SCRIPTS,
        page={**page_text(comparison), "beyond": data["beyond"]["table"] is not None},
        data=data,
    )
    path = directory / FILE
    write_aside(path, lambda file: file.write(html.encode()))
    return path


def page_text(comparison: Comparison) -> dict[str, Any]:
    """The text of the page: ``title``, ``facts``, ``declared`` (sentences on what is exploratory) and ``options``."""
    options = shared_options(comparison.base)
    seeds = comparison.seeds()
    facts = {
        "Task": options["task"],
        "Model": options["model"],
        "Steps": options["steps"],
        "Runs": len(comparison.records),
        "Seeds": f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else seeds[0] if seeds else "none",
        "Baseline": comparison.baseline,
    }
    title = f"Comparison of {counted(len(comparison.arms), 'arm')}"
    return {"title": title, "facts": facts, "declared": declaration_notes(comparison), "options": options}


def page_data(comparison: Comparison) -> dict[str, Any]:
    """The data of the page's charts: arms with their spreads, differences, curves and single seeds."""
    metrics = [*shown_metrics(comparison), *(name for name in comparison.metrics() if name in ("entropy", "length"))]
    held_out = _held_out_metrics(comparison)
    summaries = summarize(comparison)
    beyond = frontier_data(comparison) or {"metrics": [], "plane": None, "table": None, "differences": {}, "seeds": {}}
    return {
        "baseline": comparison.baseline,
        "held_out": held_out,
        # All arms start from the same weights and share the evaluation before training.
        "before": _texts(summaries[0].before) if summaries else {},
        "metrics": [{"name": name, "label": wording(name).label, "share": wording(name).share} for name in metrics],
        "primary": comparison.declared.primary if comparison.declared else None,
        "beyond": {name: beyond[name] for name in ("metrics", "plane", "table")},
        "charts": _charts(held_out),
        "arms": [
            {
                "name": summary.arm,
                "against": summary.against,
                "n": max((each.n for each in summary.after.values()), default=0),
                "after": {name: wording(name).with_error(each.mean, each.se) for name, each in summary.after.items()},
                "differences": {name: _difference(summary, name, each) for name, each in summary.differences.items()}
                | beyond["differences"].get(summary.arm, {}),
                "seeds": _seeds(comparison, summary.arm, summary.against, metrics)
                | beyond["seeds"].get(summary.arm, {}),
                "pass": _pass_curve(_records(comparison, summary.arm)),
                "curves": _curves(_records(comparison, summary.arm), held_out),
            }
            for summary in summaries
        ],
    }


def _texts(spreads: Mapping[str, Spread]) -> dict[str, str]:
    return {name: wording(name).value(each.mean) for name, each in spreads.items()}


def _difference(summary: ArmSummary, name: str, difference: Difference) -> dict[str, Any]:
    """A difference as numbers for drawing, and as text."""
    words, adjusted = wording(name), summary.adjusted.get(name)
    interval = words.over_seeds(difference.low, difference.high)
    needed = seeds_needed_text(difference)
    return {
        **asdict(difference),
        "stands": resolved(summary, name),
        "text": words.number(difference.mean, signed=True),
        "interval": "" if difference.low is None else interval,
        "needed": needed,
        "tip": [
            f"{summary.arm} - {summary.against}",
            f"{words.difference(difference.mean)} ({interval})",
            counted(difference.n, "seed"),
            *([f"adjusted p: {adjusted:.2g}"] if adjusted is not None else []),
            *([f"seeds needed: {needed}"] if needed else []),
        ],
    }


def _charts(held_out: Mapping[str, str]) -> list[dict[str, Any]]:
    """The charts of the page in order: ``key``, ``title``, ``note``, the label of axis ``x``, and whether shares."""
    passed = wording("pass@1")
    first = {
        "key": "pass",
        "title": "Pass@k on held-out problems",
        "note": passed.note,
        "x": "k (completions)",
        "share": True,
    }
    charts = [first]
    for kind, name in held_out.items():
        title, note = (
            f"{wording(name).label} over the steps",
            f"Held-out problems, at every evaluation. {wording(name).note}",
        )
        charts.append(
            {"key": f"held_out_{kind}", "title": title, "note": note, "x": "step", "share": True, "dots": True}
        )
    for name in CURVES:
        words = wording(name)
        charts.append({"key": name, "title": words.label, "note": words.note, "x": "step", "share": words.share})
    return charts


def _held_out_metrics(comparison: Comparison) -> dict[str, str]:
    """The metrics on held-out problems that are drawn over the steps: ``mean``, Mean@n, and ``pass``, Pass@n."""
    names = shown_metrics(comparison)
    kinds = {kind: [name for name in names if name.startswith(f"{kind}@")] for kind in ("mean", "pass")}
    return {kind: own[-1] for kind, own in kinds.items() if own}


def _records(comparison: Comparison, arm: str) -> Records:
    return [record for record in comparison.records if record["arm"] == arm]


def _curves(records: Records, held_out: Mapping[str, str]) -> dict[str, list[Point]]:
    """The curves of an arm over the steps, on held-out problems and in training."""
    return {
        **{f"held_out_{kind}": _held_out_curve(records, name) for kind, name in held_out.items()},
        **{name: _training_curve(records, name) for name in CURVES},
    }


def _seeds(comparison: Comparison, arm: str, against: str | None, metrics: Sequence[str]) -> dict[str, list[float]]:
    """The differences of single seeds, by metric."""
    if against is None:
        return {}
    pairs = {name: (comparison.values(arm, name), comparison.values(against, name)) for name in metrics}
    return {
        name: [float(own[seed] - other[seed]) for seed in sorted(own.keys() & other.keys())]
        for name, (own, other) in pairs.items()
    }


def _pass_curve(records: Records) -> list[Point]:
    """Pass@k after training, over ``k``."""
    rows = [record["pass_curve"] for record in records]
    places = list(range(1, 1 + min(len(row) for row in rows)))
    return _points(places, np.array([row[: len(places)] for row in rows]), "pass@1")


def _training_curve(records: Records, name: str) -> list[Point]:
    """A training metric over the steps. Each point is the mean over the last few steps."""
    rows = [_filled(record["curves"][name]) for record in records if name in record["curves"]]
    if not rows or any(not row for row in rows):
        return []
    places = records[0]["curves"]["step"][: min(len(row) for row in rows)]
    smooth = _smoothed(np.array([row[: len(places)] for row in rows]), max(1, len(places) // 20))
    stretch = -(-len(places) // MAX_POINTS)
    return _points(places, smooth, name)[stretch - 1 :: stretch]


def _held_out_curve(records: Records, metric: str) -> list[Point]:
    """A metric on held-out problems: before training, at the evaluations that all runs have, and after."""
    runs = [
        {0: record["before"], **{int(step): each for step, each in record["evaluations"].items()}}
        | {record["steps"]: record["after"]}
        for record in records
    ]
    values = [{step: each[metric] for step, each in run.items() if each.get(metric) is not None} for run in runs]
    places = sorted(set.intersection(*(set(run) for run in values)))
    if not any(record["evaluations"] for record in records) or len(places) < 3:
        return []
    return _points(places, np.array([[run[step] for step in places] for run in values]), metric)


def _points(places: Sequence[int], values: NDArray[np.float64], metric: str) -> list[Point]:
    """Means over seeds of ``values`` (``[seeds, places]``) with 95 % intervals for drawing, and the mean as text.

    With few seeds, the ends of Student's t intervals may be impossible values; these are clipped.
    """
    words, possible = wording(metric), _possible(metric)
    mean, half = values.mean(axis=0), reach(values)
    low, high = np.clip([mean - half, mean + half], *possible)
    return [
        {"x": places[i], "mean": _short(mean[i]), "low": _short(low[i]), "high": _short(high[i])}
        | {"text": words.value(float(mean[i]))}
        for i in range(len(places))
    ]


def _possible(metric: str) -> tuple[float, float]:
    """The possible range of a metric; bands are not drawn outside of it."""
    if wording(metric).share:
        return 0.0, 1.0
    return (-np.inf, np.inf) if metric == "reward" else (0.0, np.inf)


def _filled(values: Sequence[float | None]) -> list[float]:
    """Fills gaps of a curve with the value before. A step without success, for example, has no entropy of successes."""
    known = [value for value in values if value is not None]
    filled: list[float] = []
    for value in values:
        filled.append(value if value is not None else (filled or known or [0.0])[-1 if filled else 0])
    return filled if known else []


def _smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """``[n, steps]`` means over the last ``window`` steps, fewer at the start."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    ends = np.arange(1, values.shape[1] + 1)
    starts = np.maximum(0, ends - window)
    return (sums[:, ends] - sums[:, starts]) / (ends - starts)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
