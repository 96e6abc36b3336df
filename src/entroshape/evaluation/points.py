"""From the rows of an evaluation to an :class:`~entroshape.metrics.points.EvaluationPoint`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entroshape.metrics.points import EvaluationPoint


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
