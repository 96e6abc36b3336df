"""Points of the evaluations of a run: one small file per weights, step and temperature, each written atomically."""

from __future__ import annotations

import json
import re
from pathlib import Path

from entroshape.metrics.points import EvaluationPoint
from entroshape.runs.files import write_aside
from entroshape.runs.reading import read_json

NAME = re.compile(r"step-(\d+)-.+-T.+\.json")
"""Names of the files, see :func:`point_name`."""


def point_name(weights: str, step: int, temperature: float) -> str:
    """The name of the file of a point.

    Example:
        >>> point_name("mix:0.5", 100, 0.6)
        'step-100-mix-0.5-T0.6.json'
    """
    return f"step-{step}-{weights.replace(':', '-')}-T{float(temperature)}.json"


def points_folder(run: Path, fresh: int = 0) -> Path:
    """The folder of a run's points on the held-out problems, or on so many fresh ones."""
    return run / (f"points-fresh-{fresh}" if fresh else "points")


def has_point(run: Path, weights: str, step: int, temperature: float, fresh: int = 0) -> bool:
    """Whether a run has the point."""
    return (points_folder(run, fresh) / point_name(weights, step, temperature)).is_file()


def write_point(folder: Path, point: EvaluationPoint) -> None:
    """Writes a point atomically. A point of the same weights, step and temperature is replaced."""
    text = json.dumps(point.to_dict(), allow_nan=False)
    path = folder / point_name(point.weights, point.step, point.temperature)
    write_aside(path, lambda file: file.write(f"{text}\n".encode()))


def read_points(folder: Path, up_to: int | None = None) -> list[EvaluationPoint]:
    """Reads the points, up to a step or all, ordered by step, weights and temperature.

    Raises:
        ValueError: a file is damaged, or does not hold the point that its name says; the message names the file.
    """
    points = [_read(path) for path, step in _files(folder).items() if up_to is None or step <= up_to]
    return sorted(points, key=lambda point: (point.step, point.weights, point.temperature))


def check_points(run: Path, up_to: int) -> None:
    """Reads the points of a run up to a step, on all sets of problems.

    Raises:
        ValueError: see :func:`read_points`.
    """
    for folder in sorted(run.glob("points*")):
        read_points(folder, up_to)


def forget_points_after(run: Path, step: int) -> None:
    """Deletes the points of a run of all steps after ``step``, on all sets of problems."""
    for folder in run.glob("points*"):
        for path, own in _files(folder).items():
            if own > step:
                path.unlink()


def _files(folder: Path) -> dict[Path, int]:
    """The files of points, with their steps."""
    names = {path: NAME.fullmatch(path.name) for path in sorted(folder.glob("*.json"))}
    return {path: int(name[1]) for path, name in names.items() if name}


def _read(path: Path) -> EvaluationPoint:
    point = EvaluationPoint.from_dict(read_json(path), str(path))
    expected = point_name(point.weights, point.step, point.temperature)
    if path.name != expected:
        raise ValueError(f"{path} must be named {expected} after the point in it")
    return point
