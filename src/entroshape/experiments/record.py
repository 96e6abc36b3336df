"""The record of a finished run in a comparison: small enough for a repository, and enough for all tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entroshape.evaluation.points import run_points
from entroshape.experiments.arms import Arm
from entroshape.metrics.aggregation import pass_curve
from entroshape.metrics.points import EvaluationPoint
from entroshape.printable import shown
from entroshape.runs import RunDirectory
from entroshape.runs.reading import check_numbers
from entroshape.training.config import TrainConfig
from entroshape.training.missing import Missing, missing_points, wanted_points

CURVES = ("success_rate", "reward", "entropy", "entropy_success", "entropy_failure", "completion_length", "share_cut")
"""Training metrics that are kept for every step."""

RECORD_FIELDS = {"arm": str, "seed": int, "before": dict, "after": dict, "pass_curve": list, "curves": dict}
"""Required fields of a record with their types."""

INTERVALS = ("_low", "_high")
"""Suffixes of intervals over problems, which are left out: the intervals of a comparison are over seeds."""


def is_finished(run: RunDirectory, config: TrainConfig) -> bool:
    """Whether the run has its last evaluation, its models, its report, and its points before and after training."""
    return is_trained(run, config) and not missing_points(run, config)


def is_trained(run: RunDirectory, config: TrainConfig) -> bool:
    """Whether the run has its last evaluation, its models and its report."""
    return run.config_path.is_file() and run.is_finished(config.steps, ema=config.ema_decay is not None)


def run_record(run: RunDirectory, arm: Arm, config: TrainConfig) -> dict[str, Any]:
    """Builds the record of a finished run.

    Returns:
        ``arm``, ``seed``, ``steps``; ``before`` and ``after``, the metrics on held-out problems; ``pass_curve``, Pass@k
        after training for ``k`` from 1 to ``n``; ``curves``, one list per training metric; ``evaluations`` during
        training; ``points``, the successes per problem over weights, steps and temperatures, see
        :class:`~entroshape.metrics.points.EvaluationPoint`; ``fresh`` and ``fresh_points``, the number of fresh
        problems and the points on them, if there are any; ``responses``, the number of completions sampled for
        training, including replaced ones (``None`` for old runs that did not count them); ``seconds`` of training;
        ``environment``.

    Raises:
        ValueError: the run is not finished, or a file of it is damaged.
    """
    lines = run.read_metrics()
    rows, after = run.read_evaluation(config.steps)
    steps = run.evaluation_steps()
    curves = {name: [_rounded(line.get(name)) for line in lines] for name in CURVES if name in (lines or [{}])[-1]}
    seconds = sum(value for line in lines for name, value in line.items() if name.startswith("seconds_"))
    return {
        "arm": arm.name,
        "seed": config.seed,
        "steps": config.steps,
        "before": _metrics(run.read_evaluation(0)[1]),
        "after": _metrics(after),
        "pass_curve": [point["value"] for point in pass_curve(rows)],
        "curves": {"step": [line["step"] for line in lines], **curves},
        "evaluations": {str(step): _metrics(run.read_evaluation(step)[1]) for step in steps if 0 < step < config.steps},
        "points": [point.to_dict() for point in run_points(run, config.temperature)],
        **_fresh_points(run, config.fresh),
        "responses": sum(line["responses"] for line in lines) if all("responses" in line for line in lines) else None,
        "seconds": round(seconds, 1),
        "environment": run.read_config().get("environment"),
    }


def _fresh_points(run: RunDirectory, fresh: int) -> dict[str, Any]:
    points = [point.to_dict() for point in run.read_points(fresh)]
    return {"fresh": fresh, "fresh_points": points} if fresh else {}


def lacking(record: Mapping[str, Any], config: TrainConfig) -> list[Missing]:
    """The points before and after training that ``config`` asks for and the record does not have."""
    sets = {0: record.get("points", [])}
    if "fresh" in record:
        sets[record["fresh"]] = record["fresh_points"]
    there = {
        (fresh, point["weights"], point["step"], point["temperature"])
        for fresh, points in sets.items()
        for point in points
    }
    return [point for point in wanted_points(config) if point not in there]


def checked_fields(value: Any, kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    """Checks that ``value`` is a mapping with all names of ``kinds`` and values of these types, and returns it.

    Raises:
        ValueError: it is not; the message begins with ``where``.
    """
    for name, kind in kinds.items():
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object; got {shown(value)}")
        if not isinstance(value.get(name), kind) or isinstance(value[name], bool):
            got = shown(value[name]) if name in value else "none"
            raise ValueError(f"{where} must have {name!r} of type {kind.__name__}; got {got}")
    return dict(value)


def checked_record(value: Any, where: str) -> dict[str, Any]:
    """Checks a record of :func:`run_record` that was read from a file, and returns it.

    Raises:
        ValueError: it is not a record; the message begins with ``where``.
    """
    record = checked_fields(value, RECORD_FIELDS, where)
    evaluations = {"before": record["before"], "after": record["after"], **(record.get("evaluations") or {})}
    for name, metrics in evaluations.items():
        check_numbers(metrics, f"{where}, {name}")
    if "fresh" in record or "fresh_points" in record:
        checked_fields(record, {"fresh": int, "fresh_points": list}, where)
    for name in ("points", "fresh_points"):
        points = record.get(name, [])
        if not isinstance(points, list):
            raise ValueError(f"{where}: {name} must be a list; got {shown(points)}")
        for place, point in enumerate(points):
            EvaluationPoint.from_dict(point, f"{where}, {name}[{place}]")
    steps = record["curves"].get("step")
    for name, curve in {**record["curves"], "pass_curve": record["pass_curve"]}.items():
        if not isinstance(curve, list):
            raise ValueError(f"{where}: {name} must be a list of numbers; got {shown(curve)}")
        check_numbers(dict(enumerate(curve)), f"{where}, {name}")
        if name != "pass_curve" and len(curve) != len(steps or []):
            raise ValueError(f"{where}: {name} must have one value for each of its {len(steps or [])} steps")
    if None in (steps or []) or None in record["pass_curve"]:
        raise ValueError(f"{where}: steps and pass_curve must be numbers")
    return record


def _metrics(metrics: dict[str, float]) -> dict[str, float]:
    # Not rounded, so that displayed values are rounded only once, as in the report of the run.
    return {name: value for name, value in metrics.items() if not name.endswith(INTERVALS)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
