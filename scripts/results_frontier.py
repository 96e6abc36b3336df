"""Tables and pictures of the figures beyond the hull, for the pages of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from results_pictures import COLOURS

from entroshape.experiments import Comparison
from entroshape.experiments.frontier_page import plane_data
from entroshape.experiments.frontier_table import frontier_text
from entroshape.experiments.primary import declaration_notes

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
    """The plane of comparison.html: every arm's last weights over temperatures, the start, and the hull."""
    plane = plane_data(comparison)
    k = plane["tries"][0]["k"]
    figure, axis = plt.subplots(figsize=(7.5, 5), layout="constrained")
    hull = plane["hull"][k]
    axis.plot([100 * place["x"] for place in hull], [100 * place["y"] for place in hull], "-", color="#1b1f24", lw=1)
    curves = [curve for curve in plane["curves"] if curve["line"] and curve["main"]]
    for curve, colour in zip(curves[: HELD + 1], ("#6b7480", *COLOURS), strict=False):
        _draw(axis, curve, k, colour)
    axis.set(xlabel=f"{plane['x']}, %", ylabel=f"{plane['tries'][0]['label']}, %")
    axis.grid(alpha=0.3)
    axis.legend(["hull", *(curve["arm"] for curve in curves[: HELD + 1])], frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw(axis: Any, curve: dict[str, Any], k: str, colour: str) -> None:
    """A curve from cold to hot, with the sampling of each point."""
    places = [(100 * point["x"], 100 * point["y"][k]) for point in curve["points"]]
    axis.plot(*zip(*places, strict=True), "o-", color=colour, markersize=4)
    for place, point in zip(places, curve["points"], strict=True):
        axis.annotate(point["sampling"], place, fontsize=6, xytext=(3, 3), textcoords="offset points")
