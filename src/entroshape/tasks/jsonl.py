"""Problems from a JSONL file: one ``{"problem": ..., "answer": ..., "id": ...}`` per line, with optional ``id``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from entroshape.tasks.base import Task
from entroshape.tasks.problems import Row, problem_task
from entroshape.tasks.spec import TaskSpec

TEST_FRACTION = 0.1
HELD_OUT = 256
"""Default maximum number of held-out problems, in training and in evaluation."""
MAX_COMPLETION_LENGTH = 1024


def load_jsonl(spec: TaskSpec, *, train_size: int | None, test_size: int | None, seed: int) -> Task:
    """Loads ``jsonl:<path>``, with at most one option.

    ``?test=<path>`` names a file of test problems. ``?split=test`` makes all problems of the file test problems, for
    evaluation only. Without either, a tenth of the distinct problems (at most ``test_size``) is held out: those with
    the smallest SHA-256 of their text, so that the choice depends on neither the seed nor the order of the lines.
    Columns: ``id``, ``prompt``, ``answer``. Answers are compared by math-verify.

    Args:
        spec: its name is the path of the file.
        train_size: maximum number of training problems, drawn with ``seed``; ``None``: all.
        test_size: maximum number of test problems; ``None``: all problems of a test file, 256 of a tenth held out.
        seed: random seed of the draw.

    Raises:
        ValueError: the file does not exist, a line is malformed (with path and line number), a problem is in both
            files, or there is nothing to hold out.
    """
    path = spec.name
    key, value = next(iter(spec.options.items()), ("", ""))
    allowed = not spec.options or (len(spec.options) == 1 and value and key in ("test", "split"))
    if not allowed or (key == "split" and value != "test"):
        raise ValueError(f"jsonl takes the option test=<path> or split=test; got {spec.query!r}")
    rows = read_rows(Path(path).expanduser())
    if key == "test":
        train, test = rows, read_rows(Path(value).expanduser())
        _check_disjoint(train, test, path, value)
    elif key == "split":
        train, test = [], rows
    else:
        train, test = _split(rows, HELD_OUT if test_size is None else test_size, path)
    return problem_task(
        spec.text, train, test[:test_size], train_size=train_size, seed=seed, length=MAX_COMPLETION_LENGTH
    )


def read_rows(path: Path) -> list[Row]:
    """Reads the rows of a file. Blank lines are skipped; other keys are ignored.

    Raises:
        ValueError: the file does not exist or has no rows, or a line is malformed (with path and line number).
    """
    if not path.is_file():
        present = sorted(other.name for other in path.parent.glob("*.jsonl")) if path.parent.is_dir() else []
        raise ValueError(f"no such file: {path}; {path.parent} has {', '.join(present) or 'no .jsonl files'}")
    rows: list[Row] = []
    lines: dict[str, int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            row = _parse_row(line, where, default_id=f"{path.stem}-{number}")
            if row.id in lines:
                raise ValueError(f"{where}: id {row.id!r} is already used in line {lines[row.id]}")
            lines[row.id] = number
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no lines; expected one JSON object per line with problem and answer")
    return rows


def _parse_row(line: bytes, where: str, *, default_id: str) -> Row:
    try:
        # Without the line end, so that no message mentions a second line.
        record = json.loads(line.decode("utf-8-sig").rstrip("\r\n"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not a JSON object in UTF-8: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not a JSON object in UTF-8: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(record).__name__}")
    return Row(
        id=_text(record, "id", where, default=default_id),
        problem=_text(record, "problem", where),
        answer=_text(record, "answer", where),
    )


def _text(record: dict[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    """``record[key]`` as text. An id or an answer may also be a number."""
    value = record.get(key, default)
    if key != "problem" and _is_number(value):
        return str(value)
    expected = "text" if key == "problem" else "text or a number"
    if value is None:
        keys = ", ".join(record) or "no keys"
        raise ValueError(f"{where}: expected the key {key!r} with {expected}; the line has {keys}")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {key} must be {expected}, not empty; got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: {key} holds {value[error.start]!r}, an unpaired surrogate; expected {expected}"
        ) from error
    return value


def _is_number(value: Any) -> bool:
    """Whether ``value`` is an integer of any size or a finite float."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _split(rows: Sequence[Row], test_size: int, path: str) -> tuple[list[Row], list[Row]]:
    """Splits rows into train and test by the text of the problem, so that duplicates are in the same split."""
    ranked = sorted({row.problem for row in rows}, key=lambda problem: sha256(problem.encode()).digest())
    if len(ranked) < 2:
        raise ValueError(
            f"{path} has only one problem, so none can be held out; name a test file: jsonl:{path}?test=<path>"
        )
    held_out = set(ranked[: min(test_size, math.ceil(TEST_FRACTION * len(ranked)))])
    return [row for row in rows if row.problem not in held_out], [row for row in rows if row.problem in held_out]


def _check_disjoint(train: Sequence[Row], test: Sequence[Row], train_path: str, test_path: str) -> None:
    problems = {row.problem for row in train}
    shared = [row for row in test if row.problem in problems]
    if shared:
        raise ValueError(
            f"{len(shared)} problems of {test_path} are also in {train_path}, the first with id {shared[0].id!r}; "
            "test problems must not be trained on"
        )
