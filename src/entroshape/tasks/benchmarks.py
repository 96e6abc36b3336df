"""Mathematics from the Hugging Face hub, ``math:<name>``: the data sets with their splits and columns.

Ids, splits and columns are those of the data set cards on the hub. ``?from=<dir>`` reads a local copy of the repository
instead (``hf download --repo-type dataset ID --local-dir DIR``), with the same code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entroshape.tasks.base import Task, optional_module
from entroshape.tasks.jsonl import read_rows
from entroshape.tasks.problems import Row, problem_task
from entroshape.tasks.spec import TaskSpec, parse_spec

logger = logging.getLogger(__name__)

DAPO_BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
DAPO_AFTER = '\n\nRemember to put your answer on its own line after "Answer:".'


@dataclass(frozen=True)
class Column:
    """A column of a data set, and the function that reads the text from a cell."""

    name: str
    """Name of the column on the hub."""

    read: Callable[[Any], str] = str
    """Converts a cell to text."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The location of a data set on the hub, and how its rows are read."""

    hub_id: str
    """Repository, ``owner/name``."""

    config: str | None = None
    """Configuration, if there are several."""

    train: str | None = None
    """Training split; ``None`` if there is none."""

    test: str | None = None
    """Test split; ``None`` if there is none."""

    problem: Column = Column("problem")
    """Column of the problem."""

    answer: Column = Column("answer")
    """Column of the reference answer."""

    id: Column | None = None
    """Column of the row's id; ``None``: the index within the split."""

    length: int = 4096
    """Default limit of a completion, in tokens."""


def final_answer(solution: str) -> str:
    r"""The text after the last ``####`` of a worked solution.

    Raises:
        ValueError: there is no ``####``.

    Example:
        >>> final_answer("Half of 8 is <<8/2=4>>4.\n#### 4")
        '4'
    """
    _, mark, answer = solution.rpartition("####")
    if not mark:
        raise ValueError(f"a solution must end in '#### answer'; got {solution[-80:]!r}")
    return answer.strip()


def bare_problem(messages: list[dict[str, str]]) -> str:
    """The problem without the text that DAPO-Math-17k puts around it.

    Example:
        >>> bare_problem([{"role": "user", "content": DAPO_BEFORE + "What is 1 + 1?" + DAPO_AFTER}])
        'What is 1 + 1?'
    """
    return messages[0]["content"].removeprefix(DAPO_BEFORE).removesuffix(DAPO_AFTER).strip()


BENCHMARKS: dict[str, Benchmark] = {
    "aime24": Benchmark(hub_id="HuggingFaceH4/aime_2024", test="train", id=Column("id"), length=8192),
    "aime25": Benchmark(hub_id="math-ai/aime25", test="test", id=Column("id"), length=8192),
    "math500": Benchmark(hub_id="HuggingFaceH4/MATH-500", test="test", id=Column("unique_id")),
    "gsm8k": Benchmark(
        hub_id="openai/gsm8k",
        config="main",
        train="train",
        test="test",
        problem=Column("question"),
        answer=Column("answer", final_answer),
        length=1024,
    ),
    "dapo17k": Benchmark(
        hub_id="BytedTsinghua-SIA/DAPO-Math-17k",
        train="train",
        problem=Column("prompt", bare_problem),
        answer=Column("reward_model", lambda cell: str(cell["ground_truth"])),
        id=Column("extra_info", lambda cell: str(cell["index"])),
    ),
}
"""The data sets for ``math:<name>``, by name."""

TRAINABLE = ("math:gsm8k", "math:dapo17k?test=math:aime24")
"""Specs for :func:`entroshape.tasks.load_task` that have training problems."""


def load_benchmark(spec: TaskSpec, *, train_size: int | None, test_size: int | None, seed: int, training: bool) -> Task:
    """Loads ``math:<name>``, with ``?from=<dir>``, ``?test=<task>`` or both.

    ``test`` names other test problems, ``math:<name>`` or ``jsonl:<path>`` with their own options, and comes last.
    Columns: ``id``, ``prompt``, ``answer``. Duplicate problems are left out, and so are training problems that are also
    test problems. Answers are compared by math-verify.

    Args:
        spec: its name is one of :data:`BENCHMARKS`.
        train_size: maximum number of training problems, drawn with ``seed``; ``None``: all.
        test_size: maximum number of test problems; ``None``: all.
        seed: random seed of the draw.
        training: whether to load training problems.

    Raises:
        ValueError: an option is unknown, the data set cannot be loaded or has other columns, or there are no test
            problems.
    """
    name, (copy, test_spec) = spec.name, _options(spec)
    benchmark = BENCHMARKS[name]
    if test_spec:
        test = _test_rows(test_spec)
    elif benchmark.test:
        test = _rows(name, benchmark.test, copy)
    else:
        raise ValueError(f"math:{name} has no test problems; name some, for example math:{name}?test=math:aime24")
    if test_spec and not benchmark.train:
        raise ValueError(f"test={test_spec} is for tasks with training problems; math:{name} has none")
    train = _rows(name, benchmark.train, copy) if training and benchmark.train else []
    held_out = {row.problem for row in test}
    kept = [row for row in train if row.problem not in held_out]
    if len(kept) < len(train):
        shared = len(train) - len(kept)
        logger.warning("%s: left out %d training problems that are also test problems", spec.text, shared)
    return problem_task(spec.text, kept, test[:test_size], train_size=train_size, seed=seed, length=benchmark.length)


def _options(spec: TaskSpec) -> tuple[Path | None, str]:
    """The directory of a local copy, and the spec of other test problems."""
    name, options = spec.name, spec.options
    if not options.keys() <= {"from", "test"} or not all(options.values()):
        raise ValueError(f"math:{name} takes the options from=<dir> and test=<task>, in this order; got {spec.query!r}")
    if "from" not in options:
        return None, options.get("test", "")
    copy = Path(options["from"]).expanduser()
    if not copy.is_dir():
        raise ValueError(f"from must be a directory with a copy of {BENCHMARKS[name].hub_id}; got {options['from']!r}")
    return copy, options.get("test", "")


def _test_rows(text: str) -> list[Row]:
    spec = parse_spec(text)
    if spec.kind == "jsonl" and spec.name:
        if spec.options:
            raise ValueError(f"test=jsonl:<path> takes no options; got {text!r}")
        return read_rows(Path(spec.name).expanduser())
    name = spec.name
    with_test = [each for each, benchmark in BENCHMARKS.items() if benchmark.test]
    if spec.kind != "math" or name not in with_test:
        raise ValueError(f"test must be jsonl:<path> or math:<name> with one of {', '.join(with_test)}; got {text!r}")
    copy, other = _options(spec)
    if other:
        raise ValueError(f"test must name only test problems, without its own test=; got {text!r}")
    return _rows(name, BENCHMARKS[name].test, copy)


def _rows(name: str, split: str | None, copy: Path | None) -> list[Row]:
    """The rows of a split without duplicate problems."""
    benchmark, rows = BENCHMARKS[name], dict[str, Row]()
    dataset = _loaded(name, split, copy)
    columns = [benchmark.problem, benchmark.answer, *([benchmark.id] if benchmark.id else [])]
    missing = [column.name for column in columns if column.name not in dataset.column_names]
    if missing:
        raise ValueError(
            f"{copy or benchmark.hub_id}, split {split!r}, must have the column {missing[0]!r}; "
            f"it has {', '.join(dataset.column_names)}"
        )
    place = 0
    for cells in dataset.select_columns([column.name for column in columns]).iter(batch_size=1000):
        for values in zip(*(cells[column.name] for column in columns), strict=True):
            texts = [_text(column, value, name, place) for column, value in zip(columns, values, strict=True)]
            row = Row(f"{name}-{texts[2] if benchmark.id else f'{split}-{place}'}", texts[0], texts[1])
            rows.setdefault(row.problem, row)
            place += 1
    return list(rows.values())


def _text(column: Column, value: Any, name: str, place: int) -> str:
    try:
        text = column.read(value) if value is not None else ""
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"math:{name}, row {place}, column {column.name!r}: {error!r}") from error
    if not text.strip():
        raise ValueError(f"math:{name}, row {place}: {column.name} must hold text; got {value!r}")
    return text


def _loaded(name: str, split: str | None, copy: Path | None) -> Any:
    benchmark, library = BENCHMARKS[name], optional_module("datasets")
    try:
        return library.load_dataset(str(copy or benchmark.hub_id), benchmark.config, split=split)
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        if copy:
            raise ValueError(
                f"from={copy} must be a copy of the hub's repository {benchmark.hub_id}, with its README.md and its "
                f"data files, and have the split {split!r}: {error}"
            ) from error
        raise ValueError(
            f"math:{name} cannot be loaded from the hub ({error}). On a machine with a network, run: hf download "
            f"{benchmark.hub_id} --repo-type dataset --local-dir DIR. Then use math:{name}?from=DIR here, or your own "
            "file with jsonl:<path>"
        ) from error
