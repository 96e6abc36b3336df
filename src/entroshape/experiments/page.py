"""comparison.html: the arms' curves with bands over seeds, and their differences as a forest plot, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from entroshape.experiments.comparison import Comparison, is_share, shared_options, summarize
from entroshape.experiments.record import CURVES
from entroshape.experiments.statistics import CONFIDENCE
from entroshape.experiments.table import shown_metrics
from entroshape.report.html import CHARTS, compose
from entroshape.runs.files import write_aside

SCRIPTS = (*CHARTS, "template/comparison.js")
FILE = "comparison.html"
SHARE, AMOUNT, ANY = (0.0, 1.0), (0.0, np.inf), (-np.inf, np.inf)
RANGES = {
    name: SHARE if name in ("success_rate", "share_cut") else ANY if name == "reward" else AMOUNT for name in CURVES
}
"""Where values of each curve of training can lie: bands are not drawn outside."""

Records = Sequence[dict[str, Any]]
Point = dict[str, float]
"""``x``, ``mean``, ``low`` and ``high``."""

MAX_POINTS = 200
"""Longer curves are drawn as means over equal stretches of steps."""


def write_page(comparison: Comparison, directory: Path) -> Path:
    """Writes ``comparison.html`` into a directory; the file needs nothing else, and no network.

    Returns:
        Its path.
    """
    html = compose(
        "template/comparison.html",
        styles=("template/report.css",),
        scripts=SCRIPTS,
        page=page_text(comparison),
        data=page_data(comparison),
    )
    path = directory / FILE
    write_aside(path, lambda file: file.write(html.encode()))
    return path


def page_text(comparison: Comparison) -> dict[str, Any]:
    """What the page says in words: ``title``, ``facts`` and ``options``."""
    options = shared_options(comparison.base)
    seeds = comparison.seeds()
    facts = {
        "Task": options["task"],
        "Model": options["model"],
        "Steps": options["steps"],
        "Runs": len(comparison.records),
        "Seeds": f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else seeds[0] if seeds else "none",
        "Held against": comparison.baseline,
    }
    return {"title": f"{len(comparison.arms)} ways of assigning credit", "facts": facts, "options": options}


def page_data(comparison: Comparison) -> dict[str, Any]:
    """What the page's script draws: arms with their spreads, differences, curves and single seeds."""
    metrics = [*shown_metrics(comparison), *(name for name in comparison.metrics() if name in ("entropy", "length"))]
    held_out = _held_out_metrics(comparison)
    summaries = summarize(comparison)
    return {
        "baseline": comparison.baseline,
        "held_out": held_out,
        # Training starts from the same weights in all arms, and the evaluation before it is shared.
        "before": {name: each.mean for name, each in summaries[0].before.items()} if summaries else {},
        "metrics": [{"name": name, "share": is_share(name)} for name in metrics],
        "arms": [
            {
                "name": summary.arm,
                "against": summary.against,
                "after": {name: asdict(each) for name, each in summary.after.items()},
                "differences": {
                    name: {**asdict(each), "adjusted": summary.adjusted.get(name)}
                    for name, each in summary.differences.items()
                },
                "seeds": _seeds(comparison, summary.arm, summary.against, metrics),
                "pass": _pass_curve(_records(comparison, summary.arm)),
                "curves": _curves(_records(comparison, summary.arm), held_out),
            }
            for summary in summaries
        ],
    }


def _held_out_metrics(comparison: Comparison) -> dict[str, str]:
    """``mean`` and ``pass``: which metrics of the held-out problems are drawn over the steps, Mean@n and Pass@n."""
    names = shown_metrics(comparison)
    kinds = {kind: [name for name in names if name.startswith(f"{kind}@")] for kind in ("mean", "pass")}
    return {kind: own[-1] for kind, own in kinds.items() if own}


def _records(comparison: Comparison, arm: str) -> Records:
    return [record for record in comparison.records if record["arm"] == arm]


def _curves(records: Records, held_out: Mapping[str, str]) -> dict[str, list[Point]]:
    """An arm's curves over the steps: those of the held-out problems and of training."""
    return {
        **{f"held_out_{kind}": _held_out_curve(records, name) for kind, name in held_out.items()},
        **{name: _training_curve(records, name) for name in CURVES},
    }


def _seeds(comparison: Comparison, arm: str, against: str | None, metrics: Sequence[str]) -> dict[str, list[float]]:
    """Metric to the differences of single seeds."""
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
    return _points(places, np.array([row[: len(places)] for row in rows]), SHARE)


def _training_curve(records: Records, name: str) -> list[Point]:
    """A curve of training over the steps, each point a mean over the steps just before it."""
    rows = [_filled(record["curves"][name]) for record in records if name in record["curves"]]
    if not rows or any(not row for row in rows):
        return []
    places = records[0]["curves"]["step"][: min(len(row) for row in rows)]
    smooth = _smoothed(np.array([row[: len(places)] for row in rows]), max(1, len(places) // 20))
    stretch = -(-len(places) // MAX_POINTS)
    return _points(places, smooth, RANGES[name])[stretch - 1 :: stretch]


def _held_out_curve(records: Records, metric: str) -> list[Point]:
    """A metric of the held-out problems: before training, at the evaluations that all runs have, and after."""
    runs = [
        {0: record["before"], **{int(step): each for step, each in record["evaluations"].items()}}
        | {record["steps"]: record["after"]}
        for record in records
    ]
    values = [{step: each[metric] for step, each in run.items() if each.get(metric) is not None} for run in runs]
    places = sorted(set.intersection(*(set(run) for run in values)))
    if not any(record["evaluations"] for record in records) or len(places) < 3:
        return []
    return _points(places, np.array([[run[step] for step in places] for run in values]), SHARE)


def _points(places: Sequence[int], values: NDArray[np.float64], possible: tuple[float, float]) -> list[Point]:
    """Means over seeds of ``values`` (``[seeds, places]``) and their 95 % intervals, for drawing.

    Student's t knows nothing of what is ``possible``: of few seeds, its ends lie outside, where nothing can be drawn.
    """
    mean, reach = values.mean(axis=0), _reach(values)
    low, high = np.clip([mean - reach, mean + reach], *possible)
    return [
        {"x": places[i], "mean": _short(mean[i]), "low": _short(low[i]), "high": _short(high[i])}
        for i in range(len(places))
    ]


def _filled(values: Sequence[float | None]) -> list[float]:
    """A curve whose gaps (a step without a success has no entropy of successes) hold the last value before them."""
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


def _reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the width of the 95 % interval of the mean over seeds; 0 for one seed, whose line has no band."""
    n = len(values)
    if n < 2:
        return np.zeros(values.shape[1])
    return stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
