"""From the rows of evaluations to :class:`~entroshape.metrics.points.EvaluationPoint`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entroshape.metrics.points import EvaluationPoint
from entroshape.runs import RunDirectory


def point_of(rows: Sequence[Mapping[str, Any]], *, weights: str, step: int, temperature: float) -> EvaluationPoint:
    """Counts the successes per problem, in the order of the rows.

    Args:
        rows: one row per completion with ``problem`` and ``success``, as in
            :attr:`entroshape.evaluation.EvaluationResult.rows`.
        weights: see :class:`~entroshape.metrics.points.EvaluationPoint`.
        step: the training step of the weights.
        temperature: the sampling temperature of the rows.

    Raises:
        ValueError: problems differ in their number of completions, or a field of the point is invalid.

    Example:
        >>> rows = [{"problem": "a", "success": True}, {"problem": "b", "success": False}]
        >>> point_of(rows, weights="last", step=10, temperature=0.0).successes
        (1, 0)
    """
    outcomes: dict[str, list[bool]] = {}
    for row in rows:
        outcomes.setdefault(row["problem"], []).append(bool(row["success"]))
    numbers = {len(own) for own in outcomes.values()}
    if len(numbers) != 1:
        raise ValueError(f"rows must have the same number of completions for every problem; got {sorted(numbers)}")
    successes = tuple(sum(own) for own in outcomes.values())
    return EvaluationPoint(
        weights=weights, step=step, temperature=temperature, samples=numbers.pop(), successes=successes
    )


def run_points(run: RunDirectory, temperature: float) -> list[EvaluationPoint]:
    """The points of a run, ordered by step, weights and temperature.

    Those at ``temperature``, which is that of its evaluations, are counted from the evaluations.

    Raises:
        ValueError: a file is damaged; the message names it.
    """
    points = {(point.step, point.weights, point.temperature): point for point in run.read_points()}
    for step in run.evaluation_steps():
        weights = "last" if step else "start"
        if (step, weights, temperature) not in points:
            own = point_of(run.read_evaluation(step)[0], weights=weights, step=step, temperature=temperature)
            points[step, weights, temperature] = own
    return [points[key] for key in sorted(points)]
