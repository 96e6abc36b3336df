"""Draws the pictures of docs/results.md from the figures of a comparison."""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from entroshape.experiments import Comparison, summarize
from entroshape.experiments.page import page_data
from entroshape.experiments.table import resolved
from entroshape.metrics.wording import wording

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6b7480")
"""The palette of Okabe and Ito, which colour-blind readers can distinguish."""
DRAWN = ("dapo", "gtpo", "gtpo_random", "gtpo_uniform", "grpo_s", "dapo_forking", "gtpo_surprisal", "dapo:steps=60")
"""Arms whose curves are drawn; comparison.html can draw all."""


def draw_forest(comparison: Comparison, metrics: tuple[str, ...], path: Path) -> None:
    """Differences to the baseline with intervals and single seeds, one panel per metric."""
    summaries = [summary for summary in summarize(comparison) if summary.differences]
    arms = {arm["name"]: arm for arm in page_data(comparison)["arms"]}
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(11, 1.2 + 0.32 * len(summaries)), sharey=True, layout="constrained"
    )
    for axis, metric in zip(axes, metrics, strict=True):
        scale = 100 if wording(metric).share else 1
        axis.axvline(0, color="#1b1f24", linewidth=1)
        for row, summary in enumerate(summaries):
            difference = summary.differences[metric]
            colour = COLOURS[0] if resolved(summary, metric) else "#6b7480"
            seeds = scale * np.array(arms[summary.arm]["seeds"][metric])
            axis.plot(seeds, np.full(len(seeds), row + 0.25), ".", color="#6b7480", alpha=0.5, markersize=4)
            if difference.low is not None:
                axis.plot([scale * difference.low, scale * difference.high], [row, row], color=colour, linewidth=2)
            filled = colour if resolved(summary, metric) else "white"
            axis.plot(scale * difference.mean, row, "o", color=colour, markerfacecolor=filled, markersize=6)
        axis.set(
            title=f"{metric}: difference to {comparison.baseline}", xlabel="points" if wording(metric).share else ""
        )
        axis.grid(axis="x", alpha=0.3)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(summaries)), [summary.arm for summary in summaries])
    axes[0].set_ylim(len(summaries) - 0.4, -0.6)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_curves(comparison: Comparison, path: Path) -> None:
    """Pass@k after training, and success rate and entropy over the steps: means over seeds with 95 % bands."""
    arms = [arm for arm in page_data(comparison)["arms"] if arm["name"] in DRAWN]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    panels = (
        (None, "Pass@k after training"),
        ("success_rate", "success rate in training"),
        ("entropy", "entropy, nats"),
    )
    for axis, (curve, title) in zip(axes, panels, strict=True):
        for arm, colour in zip(arms, ("#1b1f24", *COLOURS), strict=False):
            points = arm["pass"] if curve is None else arm["curves"][curve]
            x, mean, low, high = (np.array([point[name] for point in points]) for name in ("x", "mean", "low", "high"))
            axis.plot(x, mean, color=colour, label=arm["name"], linewidth=1.6)
            axis.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
        axis.set(title=title, xlabel="k" if curve is None else "step")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_xscale("log", base=2)
    axes[0].xaxis.set_major_formatter("{x:.0f}")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_learning(comparison: Comparison, arm: str, path: Path) -> None:
    """Success rate and entropy over the steps of one arm, one line per seed."""
    records = [record for record in comparison.records if record["arm"] == arm]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    labels = {"success_rate": "success rate of sampled responses", "entropy": "policy entropy, nats"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        for record, colour in zip(records, COLOURS, strict=False):
            steps, values = record["curves"]["step"], record["curves"][name]
            smooth = [statistics.mean(values[max(0, i - 9) : i + 1]) for i in range(len(values))]
            axis.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axis.plot(steps, smooth, color=colour, label=f"seed {record['seed']}")
        axis.set(xlabel="step", title=label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=160)
    plt.close(figure)
