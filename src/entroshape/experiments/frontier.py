"""The figures of a comparison beyond the hull: per arm and seed, and their intervals over seeds.

The hull of a seed is that of the start over temperatures and of the baseline over temperatures and steps, with its last
weights. See :mod:`entroshape.metrics.margins` for what is chosen on which half of the held-out problems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from entroshape.experiments.results import Comparison
from entroshape.experiments.statistics import Difference, holm, paired_difference
from entroshape.metrics.margins import (
    Margin,
    SplitHull,
    above_hull,
    area_beyond_hull,
    best_greedy,
    mean_above_hull,
)
from entroshape.metrics.points import EvaluationPoint, reported_tries

FAMILIES = ("last", "ema", "mix", "mix-ema")
"""Kinds of weights: the last of the training, their exponential mean, and mixtures of either with the start."""

METRIC = re.compile(r"((above-hull|mean-above-hull|area-beyond-hull)(-ema|-mix|-mix-ema)?|above-wide-hull)@[1-9]\d*")
GREEDY = re.compile(r"greedy(-ema|-mix|-mix-ema)?")

_KINDS = ("above-hull", "mean-above-hull", "area-beyond-hull", "greedy", "above-wide-hull")

Points = tuple[EvaluationPoint, ...]


@dataclass(frozen=True, kw_only=True)
class FrontierFigure:
    """A figure of an arm over seeds."""

    metric: str
    """Such as ``"above-hull@32"``, see :func:`is_frontier_metric`."""

    values: dict[int, float]
    """The figure by seed."""

    difference: Difference | None
    """The figure against 0, because a margin is a difference itself. Greedy decoding: against the baseline's, and
    ``None`` for the baseline."""

    margins: dict[int, Margin]
    """What was chosen, by seed; empty for areas and greedy decoding."""

    adjusted: float | None = None
    """P value of the difference, adjusted by Holm's method over all arms."""

    @property
    def clear(self) -> bool:
        """Whether the difference is significant at 5 % when all arms are tested together in this metric."""
        return self.adjusted is not None and self.adjusted < 0.05

    @property
    def nearest(self) -> int:
        """Number of seeds in which no coin has equal Mean@n (Pass@k) on the report half."""
        return sum(not margin.reached for margin in self.margins.values())


@dataclass(frozen=True, kw_only=True)
class ArmFrontier:
    """The figures of an arm by metric. A baseline has none against its own hull, in which all its points lie."""

    arm: str
    against: str
    """The baseline of the hull."""

    figures: dict[str, FrontierFigure]


def is_frontier_metric(name: str) -> bool:
    """Whether this is the name of a figure beyond the hull.

    ``above-hull@K`` is Pass@K above the hull at equal Mean@n, ``mean-above-hull@K`` is Mean@n above it at equal Pass@K,
    ``area-beyond-hull@K`` the area between both, and ``greedy`` the success rate of greedy decoding. They belong to the
    last weights of an arm. With ``-ema``, ``-mix`` or ``-mix-ema`` before the ``@`` they belong to the exponential mean
    of its weights, or to mixtures with the start. ``above-wide-hull@K`` compares all weights of an arm with the hull of
    all weights of the baseline.

    Example:
        >>> [is_frontier_metric(name) for name in ("above-hull@32", "above-hull-mix@16", "greedy", "pass@32")]
        [True, True, True, False]
    """
    return bool(METRIC.fullmatch(name) or GREEDY.fullmatch(name))


def record_points(record: Mapping[str, Any]) -> Points:
    """The points of a record; none for records that were written before points were kept."""
    return tuple(EvaluationPoint.from_dict(point) for point in record.get("points", []))


def summarize_frontier(comparison: Comparison) -> list[ArmFrontier]:
    """The figures beyond the hull of all arms.

    Empty if no run was evaluated at more than one temperature: a single point of each arm forms no frontier.
    """
    runs = {(record["arm"], record["seed"]): record_points(record) for record in comparison.records}
    if not any(len({point.temperature for point in points}) > 1 for points in runs.values()):
        return []
    figures: dict[str, dict[str, dict[int, Margin | float]]] = {}
    against = {arm.name: comparison.against(arm) or arm.name for arm in comparison.arms}
    for (arm, seed), own in runs.items():
        baseline = runs.get((against[arm], seed))
        if own and baseline:
            by_name = figures.setdefault(arm, {})
            for name, figure in _figures(own, baseline, arm == against[arm]).items():
                by_name.setdefault(name, {})[seed] = figure
    return _adjusted([_summary(arm, against[arm], figures) for arm in against if arm in figures])


def family(point: EvaluationPoint) -> str:
    """The kind of the point's weights, one of :data:`FAMILIES`, or ``"start"``."""
    return point.weights.partition(":")[0]


@lru_cache(maxsize=4096)
def _figures(own: Points, baseline: Points, is_baseline: bool) -> dict[str, Margin | float]:
    """All figures of a run, by metric, against the hull of the start and the baseline's run of the same seed."""
    if min(point.problems for point in (*own, *baseline)) < 2:
        return {}
    figures: dict[str, Margin | float | None] = {}
    start = [point for point in baseline if point.weights == "start"]
    hull_points = (*start, *(point for point in baseline if point.weights == "last"))
    for kind in FAMILIES:
        points = [point for point in own if family(point) == kind]
        suffix = "" if kind == "last" else f"-{kind}"
        if greedy := best_greedy(points):
            figures[f"greedy{suffix}"] = greedy.mean
        if not points or (is_baseline and kind == "last"):
            continue
        for k in reported_tries((*own, *baseline)):
            hull = _hull(hull_points, k)
            figures[f"above-hull{suffix}@{k}"] = above_hull(points, hull)
            figures[f"mean-above-hull{suffix}@{k}"] = mean_above_hull(points, hull)
            figures[f"area-beyond-hull{suffix}@{k}"] = area_beyond_hull(points, hull)
    trained = [point for point in own if point.weights != "start"]
    if not is_baseline and any(family(point) != "last" for point in trained):
        for k in reported_tries((*own, *baseline)):
            figures[f"above-wide-hull@{k}"] = above_hull(trained, _hull(baseline, k))
    return {name: figure for name, figure in figures.items() if figure is not None}


@lru_cache(maxsize=256)
def _hull(points: Points, k: int) -> SplitHull:
    return SplitHull(points, k)


def _summary(arm: str, against: str, every: Mapping[str, Mapping[str, Mapping[int, Margin | float]]]) -> ArmFrontier:
    own, baseline = every[arm], {} if arm == against else every.get(against, {})
    figures = {name: _figure(name, own[name], baseline.get(name, {})) for name in in_frontier_order(own)}
    return ArmFrontier(arm=arm, against=against, figures=figures)


def _figure(name: str, by_seed: Mapping[int, Margin | float], baseline: Mapping[int, Margin | float]) -> FrontierFigure:
    margins = {seed: each for seed, each in by_seed.items() if isinstance(each, Margin)}
    values = {seed: each.value if isinstance(each, Margin) else each for seed, each in by_seed.items()}
    zero: Mapping[int, Any] = baseline if GREEDY.fullmatch(name) else dict.fromkeys(values, 0.0)
    return FrontierFigure(metric=name, values=values, difference=paired_difference(values, zero), margins=margins)


def _adjusted(summaries: Sequence[ArmFrontier]) -> list[ArmFrontier]:
    """The summaries with p values adjusted over the arms, for each metric."""
    p_values: dict[str, dict[str, float]] = {}
    for each in summaries:
        for name, figure in each.figures.items():
            if figure.difference is not None and figure.difference.p is not None:
                p_values.setdefault(name, {})[each.arm] = figure.difference.p
    adjusted = {name: dict(zip(own, holm(list(own.values())), strict=True)) for name, own in p_values.items()}
    return [
        replace(
            each,
            figures={
                name: replace(figure, adjusted=adjusted.get(name, {}).get(each.arm))
                for name, figure in each.figures.items()
            },
        )
        for each in summaries
    ]


def in_frontier_order(names: Iterable[str]) -> list[str]:
    """Names of figures in the order in which they are shown."""
    return sorted(names, key=_place)


def _place(name: str) -> tuple[int, int, int, str]:
    """Plain weights first, then by kind of figure, then by ``k``."""
    kind, _, k = name.partition("@")
    suffix = next((place for place in (3, 2, 1) if kind.endswith(f"-{FAMILIES[place]}")), 0)
    base = kind.removesuffix(f"-{FAMILIES[suffix]}")
    return suffix + 4 * (base == "above-wide-hull"), _KINDS.index(base), int(k or 0), name
