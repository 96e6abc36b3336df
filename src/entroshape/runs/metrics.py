"""The metrics of a run: a file of JSON lines, one for each step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entroshape.checks import check_integer
from entroshape.printable import shown
from entroshape.runs.files import append_line, json_line, read_lines, write_aside
from entroshape.runs.reading import check_numbers, parse_json


def append_row(path: Path, metrics: Mapping[str, Any]) -> None:
    """Appends one line and flushes it to disk. An incomplete last line from a kill is dropped first.

    Raises:
        ValueError: ``step`` is missing or not an integer, or a value is not a finite number.
    """
    check_step(metrics.get("step"))
    check_numbers(dict(metrics), "metrics")
    append_line(path, json_line(metrics, "metrics"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads all complete lines; none if there is no file.

    Raises:
        ValueError: a complete line is not an object with a ``step`` and finite numbers; the message names path and
            line number.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}:{number}"
        row = parse_json(line, f"{where}: expected a JSON object with a step and numbers")
        try:
            check_step(row.get("step") if isinstance(row, dict) else None)
        except ValueError as error:
            raise ValueError(f"{where}: expected a JSON object with a step; got {shown(line)}") from error
        rows.append(check_numbers(row, where))
    return rows


def truncate_rows(path: Path, after_step: int) -> None:
    """Deletes the lines of all steps after ``after_step``.

    Raises:
        ValueError: see :func:`read_rows`.
    """
    kept = [json_line(row, "metrics") for row in read_rows(path) if row["step"] <= after_step]
    if path.exists():
        write_aside(path, lambda file: file.writelines(kept))


def check_step(step: Any) -> int:
    """Returns ``step``.

    Raises:
        ValueError: it is not an integer.
    """
    check_integer("step", step)
    return int(step)
