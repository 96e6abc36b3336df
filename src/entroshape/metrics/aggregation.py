"""Metrics from the rows of an evaluation: Mean@n, Pass@k with intervals, the curve of Pass@k, and paired changes.

Shapes: ``P`` problems, ``n`` completions per problem. Needs only NumPy, so that no engine is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entroshape.metrics.pass_at_k import bootstrap_interval, majority_at_n, mean_at_k, pass_at_k

Rows = Sequence[Mapping[str, Any]]
"""One row per completion; see :class:`entroshape.evaluation.EvaluationResult`."""

MEANS = {"reward": "reward", "length": "length", "share_cut": "cut", "entropy": "entropy"}
"""Metrics that are plain means over completions, with their columns. Metrics without a column are left out."""


def evaluation_metrics(rows: Rows) -> dict[str, float]:
    """Computes the metrics of an evaluation.

    Returns:
        ``mean@n``, ``pass@k`` for the :func:`headline_ks`, and ``majority@n`` if rows have an ``answer``, each with the
        95 % interval over problems as ``*_low`` and ``*_high``; the means over completions ``reward``, ``length``,
        ``share_cut`` and ``entropy``, if rows have them; the numbers of ``problems`` and of ``samples`` per problem.

    Raises:
        ValueError: there are no rows, or problems have different numbers of completions.

    Example:
        >>> row = {"reward": 1.0, "success": True, "length": 3, "cut": False, "entropy": 0.5}
        >>> miss = {**row, "reward": 0.0, "success": False}
        >>> metrics = evaluation_metrics([{"problem": "a", **row}, {"problem": "a", **miss}])
        >>> metrics["mean@2"], metrics["pass@2"], metrics["pass@2_low"]
        (0.5, 1.0, 1.0)
    """
    metrics: dict[str, float] = {}
    for name, values in problem_estimates(rows).items():
        metrics[name] = float(values.mean())
        if name not in MEANS:
            metrics[f"{name}_low"], metrics[f"{name}_high"] = bootstrap_interval(values)
    problems, samples = by_problem(rows, "success").shape
    return metrics | {"problems": float(problems), "samples": float(samples)}


def metric_intervals(rows: Rows) -> dict[str, dict[str, float]]:
    """Every metric of :func:`evaluation_metrics` with its 95 % interval over problems.

    Returns:
        For each metric ``value``, ``low`` and ``high``.

    Raises:
        ValueError: see :func:`evaluation_metrics`.

    Example:
        >>> rows = [{"problem": "a", "success": True, "length": 3}, {"problem": "b", "success": True, "length": 3}]
        >>> metric_intervals(rows)["length"]
        {'value': 3.0, 'low': 3.0, 'high': 3.0}
    """
    intervals = {}
    for name, values in problem_estimates(rows).items():
        low, high = bootstrap_interval(values)
        intervals[name] = {"value": float(values.mean()), "low": low, "high": high}
    return intervals


def paired_changes(before: Rows, after: Rows) -> dict[str, dict[str, float]]:
    """The change of each metric between two evaluations of the same problems, with its 95 % interval.

    Differences are taken per problem before problems are resampled, so that the difficulty of problems cancels.

    Returns:
        For each metric that both have, ``value``, ``low`` and ``high``; empty if the problems differ.

    Raises:
        ValueError: see :func:`evaluation_metrics`.

    Example:
        >>> row = {"reward": 0.0, "success": False, "length": 3, "cut": False, "entropy": 0.5}
        >>> before = [{"problem": "a", **row}, {"problem": "b", **row}]
        >>> after = [{**row, "success": True} for row in before]
        >>> paired_changes(before, after)["pass@1"]
        {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    if list(dict.fromkeys(row["problem"] for row in before)) != list(dict.fromkeys(row["problem"] for row in after)):
        return {}
    first, second = problem_estimates(before), problem_estimates(after)
    changes = {}
    for name in first.keys() & second.keys():
        low, high = bootstrap_interval(second[name] - first[name])
        changes[name] = {"value": float((second[name] - first[name]).mean()), "low": low, "high": high}
    return changes


def pass_curve(rows: Rows) -> list[dict[str, float]]:
    """Pass@k for every ``k`` from 1 to ``n``, with its 95 % interval over problems.

    Returns:
        For each ``k`` a mapping of ``k``, ``value``, ``low`` and ``high``.

    Raises:
        ValueError: see :func:`evaluation_metrics`.

    Example:
        >>> rows = [{"problem": "a", "success": True}, {"problem": "a", "success": False}]
        >>> [(point["k"], point["value"]) for point in pass_curve(rows)]
        [(1, 0.5), (2, 1.0)]
    """
    successes = by_problem(rows, "success")
    ks = np.arange(1, successes.shape[1] + 1)
    values = pass_at_k(len(ks), successes.sum(axis=1).astype(int)[:, None], ks)
    low, high = bootstrap_interval(values)
    columns = zip(ks.tolist(), values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return [dict(zip(("k", "value", "low", "high"), point, strict=True)) for point in columns]


def headline_ks(samples: int) -> list[int]:
    """The values of ``k`` for which Pass@k is shown: powers of 4 up to ``samples``, and ``samples`` itself.

    Example:
        >>> headline_ks(16), headline_ks(32)
        ([1, 4, 16], [1, 4, 16, 32])
    """
    powers = [4**i for i in range(samples.bit_length()) if 4**i < samples]
    return [*powers, samples]


def problem_estimates(rows: Rows) -> dict[str, NDArray[np.float64]]:
    """The estimate ``[P]`` of each metric per problem, from which means and intervals are computed.

    Raises:
        ValueError: see :func:`evaluation_metrics`.
    """
    successes = by_problem(rows, "success")
    samples, counts = successes.shape[1], successes.sum(axis=1).astype(int)
    estimates = {f"mean@{samples}": mean_at_k(successes)}
    estimates |= {f"pass@{k}": pass_at_k(samples, counts, k) for k in headline_ks(samples)}
    if "answer" in rows[0]:
        estimates[f"majority@{samples}"] = _majorities(rows)
    known = {name: column for name, column in MEANS.items() if column in rows[0]}
    return estimates | {name: by_problem(rows, column).mean(axis=1) for name, column in known.items()}


def _majorities(rows: Rows) -> NDArray[np.float64]:
    votes: dict[str, tuple[list[str | None], list[bool]]] = {}
    for row in rows:
        answers, successes = votes.setdefault(row["problem"], ([], []))
        answers.append(row["answer"])
        successes.append(row["success"])
    return np.array([majority_at_n(answers, successes) for answers, successes in votes.values()])


def by_problem(rows: Rows, column: str) -> NDArray[np.float64]:
    """The values ``[P, n]`` of a column, with problems in order of appearance.

    Raises:
        ValueError: see :func:`evaluation_metrics`.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["problem"], []).append(row[column])
    sizes = {len(of_problem) for of_problem in values.values()}
    if len(sizes) != 1:
        raise ValueError(
            f"rows must have the same number of completions for each problem; got {sorted(sizes) or 'no rows'}"
        )
    return np.array(list(values.values()), dtype=np.float64)
