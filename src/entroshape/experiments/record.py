"""One finished run as a comparison keeps it: small enough for a repository, enough to draw and count everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entroshape.experiments.arms import Arm
from entroshape.metrics.aggregation import pass_curve
from entroshape.printable import shown
from entroshape.runs import RunDirectory
from entroshape.runs.reading import check_numbers
from entroshape.training.config import TrainConfig

CURVES = ("success_rate", "reward", "entropy", "entropy_success", "entropy_failure", "completion_length", "share_cut")
"""Metrics of training that are kept step by step."""

OF_A_RECORD = {"arm": str, "seed": int, "before": dict, "after": dict, "pass_curve": list, "curves": dict}
"""What each record must have, and of which kind."""

INTERVALS = ("_low", "_high")
"""Ends of intervals over problems; a comparison's intervals are over seeds."""


def is_finished(run: RunDirectory, config: TrainConfig) -> bool:
    """Whether the run has left its last evaluation, its model and its report."""
    return run.config_path.is_file() and run.is_finished(config.steps)


def run_record(run: RunDirectory, arm: Arm, config: TrainConfig) -> dict[str, Any]:
    """What a comparison keeps of a finished run.

    Returns:
        ``arm``, ``seed``, ``steps``; ``before`` and ``after``, the metrics of the held-out problems; ``pass_curve``,
        Pass@k after training for ``k`` from 1 to ``n``; ``curves``, one list a metric of training; ``evaluations``
        on the way; ``responses`` that were sampled for training, replaced ones too (``None`` in runs from before
        they were counted); ``seconds`` of training; ``environment``.

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
        "responses": sum(line["responses"] for line in lines) if all("responses" in line for line in lines) else None,
        "seconds": round(seconds, 1),
        "environment": run.read_config().get("environment"),
    }


def checked_fields(value: Any, kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    """``value``, if it is a mapping that has every name of ``kinds`` with a value of its kind.

    Raises:
        ValueError: it is not, beginning with ``where``.
    """
    for name, kind in kinds.items():
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object; got {shown(value)}")
        if not isinstance(value.get(name), kind) or isinstance(value[name], bool):
            got = shown(value[name]) if name in value else "none"
            raise ValueError(f"{where} must have {name!r}, {kind.__name__}; got {got}")
    return dict(value)


def checked_record(value: Any, where: str) -> dict[str, Any]:
    """A record that was read from a file, as :func:`run_record` makes it.

    Raises:
        ValueError: it is none, beginning with ``where``.
    """
    record = checked_fields(value, OF_A_RECORD, where)
    evaluations = {"before": record["before"], "after": record["after"], **(record.get("evaluations") or {})}
    for name, metrics in evaluations.items():
        check_numbers(metrics, f"{where}, {name}")
    steps = record["curves"].get("step")
    for name, curve in {**record["curves"], "pass_curve": record["pass_curve"]}.items():
        if not isinstance(curve, list):
            raise ValueError(f"{where}: {name} must be a list of numbers; got {shown(curve)}")
        check_numbers(dict(enumerate(curve)), f"{where}, {name}")
        if name != "pass_curve" and len(curve) != len(steps or []):
            raise ValueError(f"{where}: {name} must have a value for each of its {len(steps or [])} steps")
    if None in (steps or []) or None in record["pass_curve"]:
        raise ValueError(f"{where}: steps and pass_curve must be numbers")
    return record


def _metrics(metrics: dict[str, float]) -> dict[str, float]:
    # Not rounded: what is shown of them is rounded once, as in the run's own report.
    return {name: value for name, value in metrics.items() if not name.endswith(INTERVALS)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
