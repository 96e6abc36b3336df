"""comparison.html: the arms' curves with bands over seeds, and their differences as a forest plot, in one file."""

from __future__ import annotations

from collections.abc import Sequence
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
    return {
        "baseline": comparison.baseline,
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
                "pass": _banded(comparison, summary.arm, None),
                "curves": {name: _banded(comparison, summary.arm, name) for name in CURVES},
            }
            for summary in summarize(comparison)
        ],
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


def _banded(comparison: Comparison, arm: str, curve: str | None) -> list[dict[str, float]]:
    """Mean over seeds and its 95 % interval: of a curve of training over steps, or of Pass@k over ``k``."""
    records = [record for record in comparison.records if record["arm"] == arm]
    if curve is None:
        rows = [record["pass_curve"] for record in records]
        places = list(range(1, 1 + min(len(row) for row in rows)))
    else:
        rows = [_filled(record["curves"][curve]) for record in records if curve in record["curves"]]
        if not rows or any(not row for row in rows):
            return []
        places = records[0]["curves"]["step"][: min(len(row) for row in rows)]
    values = np.array([row[: len(places)] for row in rows])
    stretch = -(-len(places) // MAX_POINTS) if curve else 1
    smooth = _smoothed(values, max(1, len(places) // 20)) if curve else values
    mean, reach = smooth.mean(axis=0), _reach(smooth)
    return [
        {"x": places[i], "mean": _short(mean[i]), "low": _short(mean[i] - reach[i]), "high": _short(mean[i] + reach[i])}
        for i in range(stretch - 1, len(places), stretch)
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
