"""What a person or a program is shown of an evaluation: the table of metrics, the next step, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from entroshape.evaluation.evaluator import EvaluationResult
from entroshape.evaluation.table import metric_intervals, pass_curve

MUCH_CUT = 0.05
"""From this share of answers on that ended at the limit, the limit is what was measured."""

UNITS = {"length": "length, tokens", "share_cut": "cut at the limit", "entropy": "entropy, nats a token"}


def metrics_table(result: EvaluationResult) -> Table:
    """Each metric with its 95 % interval over problems; shares in per cent, Pass@1 once, graded rewards if any are."""
    intervals, metrics = metric_intervals(result.rows), result.metrics
    title = f"{metrics['problems']:.0f} problems, {metrics['samples']:.0f} answers each"
    table = Table(title=title, title_justify="left")
    for column in ("metric", "value", "95 % interval over problems"):
        table.add_column(column)
    mean = next(values for name, values in intervals.items() if name.startswith("mean@"))
    for name, values in intervals.items():
        if name == "pass@1" or (name == "reward" and values == mean):
            continue
        label = f"{name} = pass@1" if name.startswith("mean@") else UNITS.get(name, name)
        low, middle, high = (_number(name, values[end]) for end in ("low", "value", "high"))
        unit = " %" if _is_share(name) else ""
        table.add_row(label, f"{middle}{unit}", f"{low} to {high}{unit}")
    return table


def next_step(result: EvaluationResult, suggested: int, limit: int | None) -> str:
    """What to do about the figures.

    Args:
        result: the evaluation.
        suggested: the task's limit of an answer, in tokens.
        limit: the limit that was asked for.
    """
    cut = result.metrics["share_cut"]
    if cut >= MUCH_CUT:
        tokens = suggested if limit is None else limit
        return (
            f"{100 * cut:.0f} % of the answers were cut at {tokens} tokens, which counts them as wrong: "
            f"next, --max-completion-length {2 * tokens} with another --output"
        )
    return "next, hold another model against it: the same command with another --model answers the same problems"


def as_json(result: EvaluationResult, options: Mapping[str, Any], path: Path) -> str:
    """All figures: ``options``, ``problems``, ``samples``, ``metrics`` with intervals, ``pass_curve`` and ``answers``.

    ``pass_curve`` is Pass@k for ``k`` from 1 to ``n``, each with its interval; ``answers`` is the path of the file.
    """
    counts = {name: int(result.metrics[name]) for name in ("problems", "samples")}
    figures = {"metrics": metric_intervals(result.rows), "pass_curve": pass_curve(result.rows)}
    return json.dumps({"options": dict(options), **counts, **figures, "answers": str(path)}, allow_nan=False, indent=2)


def _is_share(name: str) -> bool:
    return name == "share_cut" or bool(re.fullmatch(r"(mean|pass|majority)@\d+", name))


def _number(name: str, value: float) -> str:
    if _is_share(name):
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if name == "length" else f"{value:.3f}"
