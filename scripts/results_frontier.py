"""Tables and pictures of the figures beyond the hull, for the pages of results."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt
from results_pictures import COLOURS

from entroshape.experiments import Comparison
from entroshape.experiments.frontier import record_points, reported_tries
from entroshape.experiments.frontier_table import frontier_text
from entroshape.experiments.primary import declaration_notes
from entroshape.metrics.points import EvaluationPoint
from entroshape.metrics.wording import wording
from entroshape.report.plane import plane_hull

HELD = 6
"""Arms that one picture holds."""


def frontier_markdown(comparison: Comparison) -> str:
    """The figures beyond the hull, one row per arm and kind of weights; empty if there are none."""
    text = frontier_text(comparison)
    if text is None:
        return ""
    lines = [f"| | weights | seeds | {' | '.join(text.columns)} |", "|---" * (len(text.columns) + 3) + "|"]
    for row in text.rows:
        cells = [f"{cell.text} {cell.interval}".strip() for cell in row.cells]
        cells = [f"**{said}**" if cell.clear else said for said, cell in zip(cells, row.cells, strict=True)]
        lines.append(f"| `{row.arm}` | {row.weights or 'last'} | {row.seeds} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", " ".join([*text.notes, *declaration_notes(comparison)])])


def draw_plane(comparison: Comparison, path: Path) -> None:
    """Every arm's last weights in the plane of Mean@n and Pass@k over temperatures, the start, and the hull."""
    runs: dict[str, dict[int, tuple[EvaluationPoint, ...]]] = defaultdict(dict)
    for record in comparison.records:
        runs[record["arm"]][record["seed"]] = record_points(record)
    every = [point for own in runs.values() for points in own.values() for point in points]
    k, samples = reported_tries(every)[-1], max(point.samples for point in every)
    figure, axis = plt.subplots(figsize=(7.5, 5), layout="constrained")
    hull = plane_hull(
        {seed: [p for p in points if p.weights in ("start", "last")] for seed, points in runs["dapo"].items()}, [k], ""
    )[str(k)]
    axis.plot([100 * p["x"] for p in hull], [100 * p["y"] for p in hull], "-", color="#1b1f24", lw=1, label="hull")
    start = {seed: points for own in runs.values() for seed, points in own.items()}
    _curve(axis, [start], "start", 0, k, "before training", "#6b7480")
    steps = max(point.step for point in every)
    for colour, arm in zip(COLOURS, [arm.name for arm in comparison.arms if arm.name in runs][:HELD], strict=False):
        _curve(axis, [runs[arm]], "last", steps, k, arm, colour)
    axis.set(xlabel=f"{wording(f'mean@{samples}').label}, %", ylabel=f"{wording(f'pass@{k}').label}, %")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _curve(axis, runs, weights: str, step: int, k: int, label: str, colour: str) -> None:
    """Means over seeds at every temperature, joined from cold to hot."""
    found: dict[float, list[EvaluationPoint]] = defaultdict(list)
    for by_seed in runs:
        for points in by_seed.values():
            for point in points:
                if point.weights == weights and point.step == step:
                    found[point.temperature].append(point)
    drawn = [found[temperature] for temperature in sorted(found)]
    x = [100 * fmean(point.mean for point in own) for own in drawn]
    y = [100 * fmean(point.pass_at(k) for point in own) for own in drawn]
    axis.plot(x, y, "o-", color=colour, label=label, markersize=4)
    for own, left, top in zip(drawn, x, y, strict=True):
        said = f"T {own[0].temperature:g}" if own[0].temperature else "greedy"
        axis.annotate(said, (left, top), fontsize=6, xytext=(3, 3), textcoords="offset points")
