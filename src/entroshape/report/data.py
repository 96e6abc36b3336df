"""The data of a run's report: plain values from the run directory, ready for JSON and for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from entroshape.evaluation.points import run_points
from entroshape.metrics.aggregation import paired_changes, pass_curve
from entroshape.metrics.points import EvaluationPoint
from entroshape.metrics.wording import wording
from entroshape.report.beyond import beyond_the_start
from entroshape.report.outcome import OutcomeRow, outcome_rows
from entroshape.report.plane import run_plane
from entroshape.runs import RunDirectory

MAX_POINTS, MAX_VALUES = 1000, 60_000
"""Runs with more steps, or more values of metrics, are shown as means over equal stretches of steps, so that a report
stays small and fast."""

METHOD_NAMES = {"gtpo": "GTPO", "grpo_s": "GRPO-S", "grpo": "GRPO", "dapo": "DAPO"}
"""Method names as the papers write them; others are shown as they are named in the options."""

FACTS = {
    "model": "Model",
    "seed": "Seed",
    "steps": "Steps",
    "learning_rate": "Learning rate",
    "temperature": "Temperature",
    "lora_rank": "LoRA rank",
}
"""Options that are shown at the top of the page; all others are at the bottom."""


def chart_data(run: RunDirectory) -> dict[str, Any]:
    """The data of the charts: ``steps``, lists of ``metrics`` and their ``texts``, ``evaluations``, ..."""
    lines = run.read_metrics()
    width = max((len(line) for line in lines), default=0)
    stretch = max(1, math.ceil(len(lines) / MAX_POINTS), math.ceil(len(lines) * width / MAX_VALUES))
    points = [_mean_of(lines[start : start + stretch]) for start in range(0, len(lines), stretch)]
    names = sorted({name for point in points for name in point} - {"step", "optimizer_step"})
    evaluations = [_evaluation(run, step) for step in run.evaluation_steps()]
    return {
        "steps": [point["step"] for point in points],
        "stretch": stretch,
        "metrics": {name: [_rounded(point.get(name)) for point in points] for name in names},
        "texts": {name: [_text(name, point.get(name)) for point in points] for name in names},
        "words": {name: {"label": wording(name).label, "share": wording(name).share} for name in names},
        "evaluations": evaluations,
        "plane": run_plane(_points(run)),
    }


def page_data(run: RunDirectory) -> dict[str, Any]:
    """The text and tables of the page: ``title``, ``facts``, ``outcome``, ``options``, ..."""
    config = run.read_config()
    if missing := [name for name in ("task", "method") if name not in config]:
        raise ValueError(f"{run.config_path} is not the config.yaml of a run: it has no {missing[0]!r}")
    environment = config.pop("environment", None) or {}
    rows, verdict, about = _outcome(run)
    lines = run.read_metrics()
    seconds = sum(value or 0 for line in lines for name, value in line.items() if name.startswith("seconds_"))
    facts = {label: config[name] for name, label in FACTS.items() if config.get(name) is not None}
    if facts.get("LoRA rank") == 0:
        del facts["LoRA rank"]
    facts |= {f"{name} (method)": value for name, value in (config.get("method_options") or {}).items()}
    if lines:
        facts["Steps"] = f"{lines[-1]['step']} of {config['steps']}" if "steps" in config else lines[-1]["step"]
    if seconds:
        facts["Training time"] = duration(seconds)
    method = str(config["method"])
    return {
        "title": f"{METHOD_NAMES.get(method, method)} on {config['task']}",
        "run": run.path.resolve().name,
        "facts": facts,
        "outcome": rows,
        "outcome_about": about,
        "compared": len(run.evaluation_steps()) > 1,
        "verdict": verdict,
        "beyond": beyond_the_start(_points(run)),
        "options": flattened(config),
        "environment": flattened(environment),
    }


def duration(seconds: float) -> str:
    """A duration in readable units.

    Example:
        >>> duration(4.2), duration(75), duration(7260)
        ('4 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings into one, with dots between the names.

    Example:
        >>> flattened({"seed": 0, "method_options": {"alpha2": 0.1}})
        {'seed': 0, 'method_options.alpha2': 0.1}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _points(run: RunDirectory) -> list[EvaluationPoint]:
    """The points of a run that was evaluated over temperatures; none for others."""
    temperature = run.read_config().get("temperature")
    return run_points(run, temperature) if temperature is not None and run.read_points() else []


def _outcome(run: RunDirectory) -> tuple[list[OutcomeRow], str, str]:
    """The rows of the outcome table, the sentence above it, and the sentence below it."""
    steps = run.evaluation_steps()
    if not steps:
        return [], "", ""
    before_rows, before = run.read_evaluation(steps[0])
    about = f"{before['problems']:.0f} held-out problems, {before['samples']:.0f} completions each"
    if len(steps) == 1:
        return outcome_rows(before), "", f"{about}, at step {steps[0]}."
    after_rows, after = run.read_evaluation(steps[-1])
    changes = paired_changes(before_rows, after_rows)
    rows = outcome_rows(before, after, changes)
    return rows, _verdict(rows[0]), f"{about}, before training (step {steps[0]}) and after step {steps[-1]}."


def _verdict(row: OutcomeRow) -> str:
    name = row.label.partition(" ")[0]
    if not row.change_interval:
        return f"{name} went from {row.before} to {row.after}."
    points = f"{row.change} points, 95 % interval {row.change_interval}"
    if row.clear:
        return f"{name} {'fell' if row.change.startswith('-') else 'rose'} from {row.before} to {row.after} ({points})."
    return f"{name} went from {row.before} to {row.after}: no clear change ({points})."


def _evaluation(run: RunDirectory, step: int) -> dict[str, Any]:
    rows, _ = run.read_evaluation(step)
    curve = pass_curve(rows)
    return {
        "step": step,
        "samples": len(curve),
        "curve": [
            {**{name: _rounded(value) for name, value in point.items()}, "text": _with_interval(point)}
            for point in curve
        ],
    }


def _with_interval(point: Mapping[str, float]) -> str:
    words = wording("pass@1")
    return f"{words.value(point['value'])} ({words.interval(point['low'], point['high'])})"


def _text(name: str, value: float | None) -> str | None:
    return None if value is None else wording(name).value(value)


def _mean_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the metrics of several lines, with the step of the last."""
    point: dict[str, Any] = {}
    for name in {name for line in lines for name in line}:
        values = [line[name] for line in lines if isinstance(line.get(name), int | float)]
        if values:
            point[name] = sum(values) / len(values)
    return {**point, "step": lines[-1]["step"]}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
