"""Finished batches of an evaluation on disk, so that an interrupted evaluation can be resumed.

The file has one JSON line for the options, then one per batch, each flushed to disk before the next batch is sampled.
An incomplete last line from a kill is dropped, so a kill loses at most one batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entroshape.printable import shown
from entroshape.runs.files import append_line, json_line, read_lines, taken
from entroshape.runs.reading import parse_json

ANSWER: dict[str, tuple[type, ...]] = {
    "completion": (str,),
    "reward": (float, int),
    "success": (bool,),
    "length": (int,),
    "cut": (bool,),
    "entropy": (float, int, type(None)),
    "answer": (str, type(None)),
}
"""The fields of a completion record with their types. The last two may be missing."""


class Journal:
    """The finished batches of one evaluation. Only one process at a time can hold a journal.

    Args:
        path: the file, created if it does not exist.
        options: all options that the batches depend on, as plain values.

    Raises:
        ValueError: the file has batches of other options (the message names one that differs), is damaged, or is being
            written by another process.
    """

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        self.path = path
        self.batches: list[list[dict[str, Any]]] = []
        """The finished batches, in order."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise ValueError(f"output: {path} must be a file, but is a directory; choose another --output")
        self._held = path.open("ab")
        try:
            if not taken(self._held):
                raise ValueError(f"output: another process is writing {path}; let it finish, or choose another")
            self._read(options)
        except ValueError:
            self._held.close()
            raise

    def _read(self, options: Mapping[str, Any]) -> None:
        lines = read_lines(self.path)
        if lines and not {"model", "seed"} <= self._record(1, lines[0]).keys():
            raise ValueError(f"{self.path} does not contain the batches of an evaluation. Move it away")
        if len(lines) <= 1:
            # There are no batches to lose, and the options may have been corrected since the file was created.
            self._held.truncate(0)
            append_line(self.path, json_line(options, "options"))
            return
        records = [self._record(number, line) for number, line in enumerate(lines, start=1)]
        check_options(records[0], options, self.path)
        self.batches = [self._batch(number, record) for number, record in enumerate(records[1:])]

    def _record(self, number: int, line: str) -> dict[str, Any]:
        try:
            record = parse_json(line, f"{self.path}:{number}")
        except ValueError as error:
            raise ValueError(f"{error}. Delete the file") from error
        if not isinstance(record, dict):
            raise ValueError(f"{self.path}:{number}: expected a JSON object; got {shown(line)}. Delete the file")
        return record

    def _batch(self, number: int, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        answers = record.get("answers")
        if record.get("batch") != number or not isinstance(answers, list):
            raise ValueError(
                f"{self.path}: expected batch {number}; got batch {shown(record.get('batch'))}. Delete the file"
            )
        for answer in answers:
            if not isinstance(answer, dict) or any(type(answer.get(key)) not in ANSWER[key] for key in ANSWER):
                raise ValueError(f"{self.path}, batch {number}: {shown(answer)} is not a completion. Delete the file")
        return answers

    def append(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Appends the next batch and flushes it to disk.

        Raises:
            ValueError: a value cannot be written as JSON, such as NaN.
        """
        texts = [json_line(answer, f"answers[{i}]").strip() for i, answer in enumerate(answers)]
        append_line(self.path, b'{"batch": %d, "answers": [%s]}\n' % (len(self.batches), b", ".join(texts)))
        self.batches.append([dict(answer) for answer in answers])

    def close(self) -> None:
        """Closes the file. It is deleted if it has no batches."""
        if not self.batches:
            self.path.unlink(missing_ok=True)
        self._held.close()

    def remove(self) -> None:
        """Deletes the file, once its contents have been written elsewhere."""
        self.path.unlink(missing_ok=True)
        self._held.close()


def check_options(there: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> None:
    """Raises ``ValueError`` unless ``there``, the options in the file ``path``, equal ``options``. It names one."""
    for name in [*options, *there]:
        if there.get(name) != options.get(name):
            raise ValueError(
                f"{name} is {options.get(name)!r}, but {path} was made with {shown(there.get(name))}: "
                "use the same options to resume it, choose another --output, or delete it"
            )
