"""Problems from a JSONL file, one object a line: ``{"problem": ..., "answer": ..., "id": ...}``, ``id`` optional."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from entroshape.tasks.base import Task, optional_module
from entroshape.tasks.math_verifier import INSTRUCTION, MathReward

TEST_FRACTION = 0.1


@dataclass(frozen=True)
class Row:
    """One problem and its reference answer."""

    id: str
    problem: str
    answer: str


def load_jsonl(spec: str, *, train_size: int | None, test_size: int, seed: int) -> Task:
    """The task ``jsonl:<path>`` or ``jsonl:<path>?test=<path>``; ``spec`` is what follows the first colon.

    Without a test file, a tenth of the distinct problems (at most ``test_size``) is held out: those whose text has the
    lowest SHA-256, so the choice depends on neither the seed nor the order of the lines. Columns: ``id``, ``prompt``,
    ``answer``. Answers are compared by math-verify.

    Args:
        spec: path of the file, and of the test file if there is one.
        train_size: at most so many training problems, drawn with ``seed``; ``None``: all.
        test_size: at most so many test problems.
        seed: of the draw.

    Raises:
        ValueError: no such file, a malformed line (with path and line number), a problem in both files, or nothing to
            hold out.
    """
    path, _, query = spec.partition("?")
    key, _, test_path = query.partition("=")
    if query and (key != "test" or not test_path):
        raise ValueError(f"jsonl takes the option test=<path> alone; got {query!r}")
    rows = read_rows(Path(path).expanduser())
    if test_path:
        train, test = rows, read_rows(Path(test_path).expanduser())
        _check_disjoint(train, test, path, test_path)
    else:
        train, test = _split(rows, test_size, path)
    if train_size is not None and train_size < len(train):
        chosen = sorted(Random(seed).sample(range(len(train)), train_size))
        train = [train[place] for place in chosen]
    return Task(
        name=f"jsonl:{spec}",
        train=_dataset(train),
        test=_dataset(test[:test_size]),
        reward=MathReward(),
        max_completion_length=1024,
        instruction=INSTRUCTION,
    )


def read_rows(path: Path) -> list[Row]:
    """The rows of a file. Blank lines are skipped; keys other than the three are ignored.

    Raises:
        ValueError: no such file, no rows, or a malformed line, with path and line number.
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
                raise ValueError(f"{where}: id {row.id!r} is that of line {lines[row.id]} already")
            lines[row.id] = number
            rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no lines; expected one JSON object a line with problem and answer")
    return rows


def _parse_row(line: bytes, where: str, *, default_id: str) -> Row:
    try:
        record = json.loads(line.decode("utf-8-sig"))
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
    """``record[key]`` as text; an id or an answer may also be a number."""
    value = record.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if key != "problem" and number:
        return str(value)
    expected = "text" if key == "problem" else "text or a number"
    if value is None:
        keys = ", ".join(record) or "no keys"
        raise ValueError(f"{where}: expected the key {key!r} with {expected}; the line has {keys}")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {key} must be {expected}, not empty; got {value!r}")
    return value


def _split(rows: Sequence[Row], test_size: int, path: str) -> tuple[list[Row], list[Row]]:
    """Train and test: by the problem's text, so that a problem that occurs twice stays on one side."""
    ranked = sorted({row.problem for row in rows}, key=lambda problem: sha256(problem.encode()).digest())
    if len(ranked) < 2:
        raise ValueError(f"{path} has one problem: none can be held out; give a test file, jsonl:{path}?test=<path>")
    held_out = set(ranked[: min(test_size, math.ceil(TEST_FRACTION * len(ranked)))])
    return [row for row in rows if row.problem not in held_out], [row for row in rows if row.problem in held_out]


def _check_disjoint(train: Sequence[Row], test: Sequence[Row], train_path: str, test_path: str) -> None:
    problems = {row.problem for row in train}
    shared = [row for row in test if row.problem in problems]
    if shared:
        raise ValueError(
            f"{len(shared)} problems of {test_path} are in {train_path} too, the first with the id {shared[0].id!r}; "
            "test problems must not be trained on"
        )


def _dataset(rows: Sequence[Row]) -> Any:
    return optional_module("datasets").Dataset.from_dict(
        {
            "id": [row.id for row in rows],
            "prompt": [row.problem for row in rows],
            "answer": [row.answer for row in rows],
        }
    )
