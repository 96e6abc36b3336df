"""The batches of an evaluation that are done, on the disk: after a kill, the next call goes on with them.

One line of JSON for the options, then one a batch, each brought to the disk before the next batch is sampled. A last
line that a kill has torn is dropped, so that a kill loses at most the batch that it fell into.
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
"""What an answer holds, and of which types; the last two where they are known."""


class Journal:
    """The batches of one evaluation, as far as they are done. One process at a time holds a journal.

    Args:
        path: the file; made if it is not there.
        options: all that the batches depend on, plain values.

    Raises:
        ValueError: the file holds batches of other options, naming the first that differs; it is damaged; or another
            process is writing it.
    """

    def __init__(self, path: Path, options: Mapping[str, Any]) -> None:
        self.path = path
        self.batches: list[list[dict[str, Any]]] = []
        """The batches that were found, in order."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise ValueError(f"output: {path} must be a file, and is a directory; choose another --output")
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
            raise ValueError(f"{self.path} holds something else than the batches of an evaluation. Move it away")
        if len(lines) <= 1:
            # No batch is lost: whoever began this one may have been stopped over an option that is right now.
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
                raise ValueError(f"{self.path}, batch {number}: {shown(answer)} is no answer. Delete the file")
        return answers

    def append(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Keeps the next batch: on the disk when this returns.

        Raises:
            ValueError: a value that JSON cannot hold, such as a NaN.
        """
        texts = [json_line(answer, f"answers[{i}]").strip() for i, answer in enumerate(answers)]
        append_line(self.path, b'{"batch": %d, "answers": [%s]}\n' % (len(self.batches), b", ".join(texts)))
        self.batches.append([dict(answer) for answer in answers])

    def close(self) -> None:
        """Lets go of the file, which stays if it holds a batch."""
        if not self.batches:
            self.path.unlink(missing_ok=True)
        self._held.close()

    def remove(self) -> None:
        """Deletes the file: what it held is kept elsewhere."""
        self.path.unlink(missing_ok=True)
        self._held.close()


def check_options(there: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> None:
    """Raises ``ValueError`` where ``there``, the options of what ``path`` holds, are not ``options``, naming one."""
    for name in [*options, *there]:
        if there.get(name) != options.get(name):
            raise ValueError(
                f"{name} is {options.get(name)!r}, but {path} was made with {shown(there.get(name))}: "
                "give the same options to go on with it, choose another --output, or delete it"
            )
