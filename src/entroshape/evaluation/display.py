"""Output of an evaluation: the table of metrics, a suggested next step, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from entroshape.evaluation.evaluator import EvaluationResult
from entroshape.evaluation.grid import Grid, choices
from entroshape.evaluation.points import point_of
from entroshape.metrics.aggregation import headline_ks, metric_intervals, pass_curve
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


def grid_table(grid: Grid) -> Table:
    """One row per temperature: Mean@n, Pass@k, majority@n, entropy, length and share cut.

    Under greedy decoding all completions of a problem are equal, so its success rate is Mean@n and every Pass@k.
    """
    metrics = {temperature: _of_n(result.metrics, _samples(grid)) for temperature, result in grid.items()}
    names = list(dict.fromkeys(name for own in metrics.values() for name in worth_showing(own)))
    problems = next(iter(metrics.values()))["problems"]
    table = Table(title=f"{problems:.0f} problems, {_samples(grid)} completions each", title_justify="left")
    table.add_column("T")
    for name in names:
        table.add_column(wording(name).label, justify="right")
    for temperature, own in metrics.items():
        cells = [wording(name).value(own[name]) if name in own else "" for name in names]
        table.add_row(f"{temperature:g}" if temperature else "greedy", *cells)
    return table


def choice_lines(grid: Grid) -> list[str]:
    """Sentences on the temperatures that were chosen on one half of the problems and are reported on the other."""
    lines = []
    for choice in choices(grid):
        figures = ", ".join(
            f"{wording(name).label} {wording(name).value(each)}" for name, each in choice.values.items()
        )
        lines.append(
            f"highest {wording(choice.metric).label}: temperature {choice.temperature:g}, chosen on {choice.chosen_on} "
            f"problems (choice half). On the other {choice.reported_on} (report half): {figures}"
        )
    return lines


def _samples(grid: Grid) -> int:
    return int(max(result.metrics["samples"] for result in grid.values()))


def _of_n(metrics: Mapping[str, float], samples: int) -> dict[str, float]:
    """The metrics of greedy decoding under the names of those of ``samples`` completions."""
    if metrics["samples"] == samples:
        return dict(metrics)
    rate = metrics["mean@1"]
    same = dict.fromkeys([f"mean@{samples}", *(f"pass@{k}" for k in headline_ks(samples))], rate)
    return {**same, **{name: value for name, value in metrics.items() if name not in ("mean@1", "pass@1")}}


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


def grid_as_json(grid: Grid, options: Mapping[str, Any], path: Path) -> str:
    """As :func:`as_json`, with ``temperatures`` and ``choices`` instead of ``metrics`` and ``pass_curve``.

    ``temperatures`` is a list with ``temperature``, ``samples``, ``metrics``, ``pass_curve`` and ``successes`` (per
    problem) of each. ``choices`` has the temperature that is best on the choice half of the problems by each metric,
    with its values on the report half.
    """
    figures = [
        {
            "temperature": temperature,
            "samples": int(result.metrics["samples"]),
            "metrics": metric_intervals(result.rows),
            "pass_curve": pass_curve(result.rows),
            "successes": list(point_of(result.rows, weights="last", step=0, temperature=temperature).successes),
        }
        for temperature, result in grid.items()
    ]
    content = {
        "options": dict(options),
        "problems": int(next(iter(grid.values())).metrics["problems"]),
        "temperatures": figures,
        "choices": [asdict(choice) for choice in choices(grid)],
        "answers": str(path),
    }
    return json.dumps(content, allow_nan=False, indent=2)


def as_json(result: EvaluationResult, options: Mapping[str, Any], path: Path) -> str:
    """The evaluation as JSON: ``options``, ``problems``, ``samples``, ``metrics``, ``pass_curve`` and ``answers``.

    ``metrics`` and ``pass_curve`` (Pass@k for ``k`` from 1 to ``n``) have intervals. ``answers`` is the path of the
    file with the completions.
    """
    counts = {name: int(result.metrics[name]) for name in ("problems", "samples")}
    figures = {"metrics": metric_intervals(result.rows), "pass_curve": pass_curve(result.rows)}
    return json.dumps({"options": dict(options), **counts, **figures, "answers": str(path)}, allow_nan=False, indent=2)
