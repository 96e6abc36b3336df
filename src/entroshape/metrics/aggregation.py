"""What the rows of an evaluation amount to: Mean@n, Pass@k with intervals, the curve of Pass@k, and paired changes.

Shapes: ``P`` problems, ``n`` samples a problem. NumPy alone: rows can be read back without an engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entroshape.metrics.pass_at_k import bootstrap_interval, majority_at_n, mean_at_k, pass_at_k

Rows = Sequence[Mapping[str, Any]]
"""One row a response; see :class:`entroshape.evaluation.EvaluationResult`."""

MEANS = {"reward": "reward", "length": "length", "share_cut": "cut", "entropy": "entropy"}
"""Metrics that are plain means over responses, and the column of each; one that rows lack is left out."""


def evaluation_metrics(rows: Rows) -> dict[str, float]:
    """What an evaluation's rows amount to.

    Returns:
        ``mean@n``, and ``pass@k`` for the :func:`headline_ks`, each with the 95 % interval over problems under
        ``*_low`` and ``*_high``; so ``majority@n`` where rows hold an ``answer``; ``reward``, ``length``, ``share_cut``
        and ``entropy``, means over responses, so far as rows hold them; ``problems`` and ``samples``, how many there
        were.

    Raises:
        ValueError: no rows, or problems with different numbers of samples.

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
    """Every metric of :func:`evaluation_metrics` with its 95 % interval over problems, the means over responses too.

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
    """How each metric changed from one evaluation to another of the same problems, with its 95 % interval.

    The difference is taken problem by problem before problems are resampled, so that what is hard for both cancels.

    Returns:
        For each metric that both have, ``value``, ``low`` and ``high``; nothing if the problems differ.

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
    """The ``k`` of the Pass@k that are shown: powers of 4 up to ``samples``, and ``samples`` itself.

    Example:
        >>> headline_ks(16), headline_ks(32)
        ([1, 4, 16], [1, 4, 16, 32])
    """
    powers = [4**i for i in range(samples.bit_length()) if 4**i < samples]
    return [*powers, samples]


def problem_estimates(rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Each metric's estimate of each problem, ``[P]``: what their means and intervals are computed from.

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
    """``[P, n]`` values of a column: problems in order of appearance.

    Raises:
        ValueError: see :func:`evaluation_metrics`.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["problem"], []).append(row[column])
    sizes = {len(of_problem) for of_problem in values.values()}
    if len(sizes) != 1:
        raise ValueError(f"rows must hold equally many samples of each problem; got {sorted(sizes) or 'no rows'}")
    return np.array(list(values.values()), dtype=np.float64)
