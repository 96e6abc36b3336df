"""What a person or a program is shown of an evaluation: the table of metrics, the next step, JSON."""

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
"""From this share of answers on that ended at the limit, the limit is what was measured."""


def metrics_table(result: EvaluationResult) -> Table:
    """Each metric with its 95 % interval over problems; shares in per cent, Pass@1 once, graded rewards if any are."""
    intervals, metrics = metric_intervals(result.rows), result.metrics
    title = f"{metrics['problems']:.0f} problems, {metrics['samples']:.0f} answers each"
    table = Table(title=title, title_justify="left")
    for column in ("metric", "value", "95 % interval over problems"):
        table.add_column(column)
    for name in worth_showing(metrics):
        words, values = wording(name), intervals[name]
        table.add_row(words.title, words.value(values["value"]), words.interval(values["low"], values["high"]))
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
        share = wording("share_cut").value(cut)
        return (
            f"{share} of the answers were cut at {tokens} tokens, which counts them as wrong: "
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
