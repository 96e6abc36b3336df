"""The file of a finished evaluation: every completion with its verdict, the metrics, and the options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from entroshape.evaluation.evaluator import EvaluationResult
from entroshape.evaluation.journal import check_options
from entroshape.metrics.aggregation import metric_intervals, pass_curve
from entroshape.printable import shown
from entroshape.runs.files import json_line
from entroshape.runs.reading import check_numbers, parse_json
from entroshape.runs.tables import EVALUATION_SCHEMA, read_metadata, read_table, write_table
from entroshape.tasks import Task

MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt")
"""Files of a saved model."""

ANSWER = EVALUATION_SCHEMA.field("completion").with_name("answer")
WITH_ANSWERS = EVALUATION_SCHEMA.append(ANSWER)
REQUIRED_METRICS = {"problems", "samples", "share_cut"}
"""Metrics that every evaluation must have, because they are shown."""

CHUNK = 1 << 16
CHUNKS = 64
"""The fingerprint of a model file is made from its size and this many evenly spaced chunks."""


def write_evaluation(path: Path, result: EvaluationResult, options: Mapping[str, Any]) -> None:
    """Writes a Parquet file with one row per completion, atomically.

    The metadata are JSON: ``metrics``, ``intervals`` (every metric with its 95 % interval), ``pass_curve`` (Pass@k for
    all ``k``) and ``options``. Columns are those of :data:`entroshape.runs.tables.EVALUATION_SCHEMA`, without
    ``entropy`` if the sampler does not know it, and with ``answer`` if the task has final answers.

    Raises:
        ValueError: a value is not finite.
    """
    metadata = {
        "metrics": json_line(result.metrics, "metrics"),
        **{name: json.dumps(value, allow_nan=False).encode() for name, value in figures_of(result).items()},
        "options": json_line(options, "options"),
    }
    write_table(path, result.rows, schema_of(result.rows), metadata)


def figures_of(result: EvaluationResult) -> dict[str, Any]:
    """``intervals``, every metric with its 95 % interval, and ``pass_curve``, Pass@k for all ``k``."""
    return {"intervals": metric_intervals(result.rows), "pass_curve": pass_curve(result.rows)}


def read_evaluation(path: Path, options: Mapping[str, Any]) -> EvaluationResult | None:
    """Reads the evaluation that :func:`write_evaluation` wrote with these options; ``None`` if the file does not exist.

    Raises:
        ValueError: the file has other options (the message names one that differs), or is not an evaluation.
    """
    if not path.exists():
        return None
    metadata = read_options(path, options, "metrics")
    table = read_table(path, WITH_ANSWERS, optional=("entropy", "answer"))
    metrics = checked_metrics(parse_json(metadata["metrics"], f"{path}, metrics"), path)
    return EvaluationResult(rows=table.to_pylist(), metrics=metrics)


def read_options(path: Path, options: Mapping[str, Any], figures: str) -> dict[str, bytes]:
    """Returns the metadata of a file of an evaluation, which must have these options.

    Args:
        path: the file.
        options: all options that its completions depend on.
        figures: the name of the metadata with its metrics.

    Raises:
        ValueError: the file has other options (the message names one that differs), or is not an evaluation.
    """
    metadata = read_metadata(path)
    if "options" not in metadata:
        raise ValueError(f"output {path} is not an evaluation file; choose another --output")
    there = parse_json(metadata["options"], f"{path}, options")
    if not isinstance(there, dict):
        raise ValueError(f"{path}, options: expected names and values; got {shown(there)}")
    check_options(there, options, path)
    if figures not in metadata:
        raise ValueError(f"output {path} is not an evaluation file; choose another --output")
    return metadata


def checked_metrics(value: Any, path: Path) -> dict[str, float]:
    """Returns metrics that were read from ``path``.

    Raises:
        ValueError: they are not finite numbers by name, or one that is shown is missing.
    """
    metrics = check_numbers(value, f"{path}, metrics")
    if missing := REQUIRED_METRICS - metrics.keys():
        raise ValueError(f"{path}, metrics: expected {sorted(missing)[0]}; found {', '.join(metrics) or 'none'}")
    return metrics


def model_fingerprint(model: str) -> str:
    """Fingerprint of the weights in a directory, to notice if they change; for a hub id, the id itself.

    Args:
        model: a directory or a hub id, from :func:`entroshape.models.resolve_model`.
    """
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = sha256()
    for path in sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()}):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for start in range(0, max(size, 1), max(CHUNK, size // CHUNKS)):
                file.seek(start)
                digest.update(file.read(CHUNK))
    return digest.hexdigest()


def problems_fingerprint(task: Task) -> str:
    """Fingerprint of a task's test problems, including all of their columns and the instruction."""
    digest = sha256(json.dumps([task.instruction, task.test.column_names]).encode())
    for row in task.test:
        digest.update(json.dumps(row, sort_keys=True, default=repr).encode())
    return digest.hexdigest()


def schema_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The columns of a file with these rows: without ``entropy`` if they do not have it, with ``answer`` if they do."""
    schema = EVALUATION_SCHEMA
    if "entropy" not in rows[0]:
        schema = schema.remove(schema.get_field_index("entropy"))
    return schema.append(ANSWER) if "answer" in rows[0] else schema
