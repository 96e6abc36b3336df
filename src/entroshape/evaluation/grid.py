"""An evaluation over several temperatures: its file, and the choice of a temperature on half of the problems."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from entroshape.evaluation.evaluator import EvaluationResult
from entroshape.evaluation.points import point_of
from entroshape.evaluation.saved import WITH_ANSWERS, checked_metrics, figures_of, read_options, schema_of
from entroshape.metrics.points import EvaluationPoint, choice_half, report_half
from entroshape.printable import shown
from entroshape.runs.files import json_line
from entroshape.runs.reading import parse_json
from entroshape.runs.tables import read_table, write_table

Grid = Mapping[float, EvaluationResult]
"""The evaluation at each temperature."""

TEMPERATURE = pa.field("temperature", pa.float64())


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The temperature that is best on the choice half of the problems, with its figures on the report half."""

    metric: str
    """What is largest: ``"mean@N"`` or ``"pass@N"`` for ``N`` completions."""

    temperature: float
    chosen_on: int
    """Number of problems of the choice half."""

    reported_on: int
    """Number of problems of the report half."""

    values: dict[str, float]
    """Mean@n and Pass@n on the report half."""


def choices(grid: Grid) -> list[Choice]:
    """The temperatures with the largest Mean@n and Pass@n; none if there is nothing to choose.

    Ties go to the lower temperature. The even problems are the choice half, the odd ones the report half, see
    :func:`entroshape.metrics.points.choice_half`.
    """
    points = [
        point_of(result.rows, weights="last", step=0, temperature=temperature) for temperature, result in grid.items()
    ]
    problems, samples = points[0].problems, max(point.samples for point in points)
    if len(points) < 2 or problems < 2:
        return []
    first, second = choice_half(problems), report_half(problems)
    names = {f"mean@{samples}": 1, f"pass@{samples}": samples} if samples > 1 else {"mean@1": 1}
    found = []
    for name, k in names.items():
        best = max(points, key=lambda point: (_pass(point.select(first), k), -point.temperature))
        values = {each: _pass(best.select(second), tries) for each, tries in names.items()}
        found.append(
            Choice(
                metric=name, temperature=best.temperature, chosen_on=len(first), reported_on=len(second), values=values
            )
        )
    return found


def _pass(point: EvaluationPoint, k: int) -> float:
    return point.mean if k == 1 else point.pass_at(k)


def write_grid(path: Path, grid: Grid, options: Mapping[str, Any]) -> None:
    """Writes a Parquet file with one row per completion, atomically.

    Columns are those of :func:`entroshape.evaluation.saved.write_evaluation` and ``temperature``. The metadata are
    JSON: ``options``, and ``temperatures``, a list with ``temperature``, ``metrics``, ``intervals`` and ``pass_curve``
    of each.

    Raises:
        ValueError: a value is not finite.
    """
    figures = [
        {"temperature": temperature, "metrics": result.metrics, **figures_of(result)}
        for temperature, result in grid.items()
    ]
    rows = [{"temperature": temperature, **row} for temperature, result in grid.items() for row in result.rows]
    metadata = {
        "temperatures": json.dumps(figures, allow_nan=False).encode(),
        "options": json_line(options, "options"),
    }
    write_table(path, rows, schema_of(rows).insert(0, TEMPERATURE), metadata)


def read_grid(path: Path, options: Mapping[str, Any]) -> dict[float, EvaluationResult] | None:
    """Reads what :func:`write_grid` wrote with these options; ``None`` if the file does not exist.

    Raises:
        ValueError: the file has other options (the message names one that differs), or is not such an evaluation.
    """
    if not path.exists():
        return None
    metadata = read_options(path, options, "temperatures")
    figures = parse_json(metadata["temperatures"], f"{path}, temperatures")
    table = read_table(path, WITH_ANSWERS.insert(0, TEMPERATURE), optional=("entropy", "answer"))
    rows: dict[float, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row.pop("temperature"), []).append(row)
    if not isinstance(figures, list) or [each.get("temperature") for each in figures] != list(rows):
        raise ValueError(f"{path}, temperatures: expected those of its rows, {list(rows)}; got {shown(figures)}")
    return {
        each["temperature"]: EvaluationResult(
            rows=rows[each["temperature"]], metrics=checked_metrics(each.get("metrics"), path)
        )
        for each in figures
    }
