"""Output of an evaluation: the table of metrics, a suggested next step, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from entroshape.evaluation.evaluator import EvaluationResult
from entroshape.metrics.aggregation import metric_intervals, pass_curve
from entroshape.metrics.wording import wording, worth_showing

MUCH_CUT = 0.05
"""If at least this share of completions is cut, the result mainly reflects the length limit."""


def metrics_table(result: EvaluationResult) -> Table:
    """Each metric with its 95 % interval over problems; shares in per cent, Pass@1 once, graded rewards if any are."""
    intervals, metrics = metric_intervals(result.rows), result.metrics
    title = f"{metrics['problems']:.0f} problems, {metrics['samples']:.0f} completions each"
    table = Table(title=title, title_justify="left")
    for column in ("metric", "value", "95 % interval over problems"):
        table.add_column(column)
    for name in worth_showing(metrics):
        words, values = wording(name), intervals[name]
        table.add_row(words.title, words.value(values["value"]), words.interval(values["low"], values["high"]))
    return table


def next_step(result: EvaluationResult, suggested: int, limit: int | None) -> str:
    """Suggests what to do next.

    Args:
        result: the evaluation.
        suggested: the task's default completion limit, in tokens.
        limit: the limit that was requested, if any.
    """
    cut = result.metrics["share_cut"]
    if cut >= MUCH_CUT:
        tokens = suggested if limit is None else limit
        share = wording("share_cut").value(cut)
        return (
            f"{share} of the completions were cut at {tokens} tokens and count as failures. "
            f"Try --max-completion-length {2 * tokens} with another --output"
        )
    return "next, compare another model: the same command with another --model uses the same problems"


def as_json(result: EvaluationResult, options: Mapping[str, Any], path: Path) -> str:
    """The evaluation as JSON: ``options``, ``problems``, ``samples``, ``metrics``, ``pass_curve`` and ``answers``.

    ``metrics`` and ``pass_curve`` (Pass@k for ``k`` from 1 to ``n``) have intervals. ``answers`` is the path of the
    file with the completions.
    """
    counts = {name: int(result.metrics[name]) for name in ("problems", "samples")}
    figures = {"metrics": metric_intervals(result.rows), "pass_curve": pass_curve(result.rows)}
    return json.dumps({"options": dict(options), **counts, **figures, "answers": str(path)}, allow_nan=False, indent=2)
