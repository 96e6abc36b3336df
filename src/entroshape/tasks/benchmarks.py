"""Mathematics from the Hugging Face hub, ``math:<name>``: which data set, which split, and what its columns hold.

Ids, splits and columns are those of the data sets' cards on the hub. ``?from=<dir>`` reads a copy of the hub's
repository instead (``hf download --repo-type dataset ID --local-dir DIR``), through the same code.
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
    """A column of a data set, and how its text is read off a cell."""

    name: str
    """As the hub has it."""

    read: Callable[[Any], str] = str
    """From a cell to the text."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Where a data set lies on the hub and how its rows are read."""

    hub_id: str
    """The repository, ``owner/name``."""

    config: str | None = None
    """The configuration, where there are several."""

    train: str | None = None
    """The split to train on; ``None``: there is none."""

    test: str | None = None
    """The split to evaluate on; ``None``: there is none."""

    problem: Column = Column("problem")
    """The problem's text."""

    answer: Column = Column("answer")
    """The reference answer."""

    id: Column | None = None
    """A name for each row; ``None``: its place in the split."""

    length: int = 4096
    """Suggested limit of a completion, in tokens."""


def final_answer(solution: str) -> str:
    r"""What follows the last ``####`` of a worked solution.

    Raises:
        ValueError: there is none.

    Example:
        >>> final_answer("Half of 8 is <<8/2=4>>4.\n#### 4")
        '4'
    """
    _, mark, answer = solution.rpartition("####")
    if not mark:
        raise ValueError(f"a solution must end in '#### answer'; got {solution[-80:]!r}")
    return answer.strip()


def bare_problem(messages: list[dict[str, str]]) -> str:
    """The problem without the words that DAPO-Math-17k puts around it.

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
"""What ``math:<name>`` may name."""

TRAINABLE = ("math:gsm8k", "math:dapo17k?test=math:aime24")
"""What can be trained on, as :func:`entroshape.tasks.load_task` takes it."""


def load_benchmark(spec: TaskSpec, *, train_size: int | None, test_size: int | None, seed: int, training: bool) -> Task:
    """The task ``math:<name>``, with ``?from=<dir>``, ``?test=<task>`` or both.

    ``test`` names other test problems, ``math:<name>`` or ``jsonl:<path>`` with options of their own, and stands last.
    Columns: ``id``, ``prompt``, ``answer``. Rows with a problem that occurred before are left out, and so are training
    problems that are test problems too. Answers are compared by math-verify.

    Args:
        spec: its name is one of :data:`BENCHMARKS`.
        train_size: at most so many training problems, drawn with ``seed``; ``None``: all.
        test_size: at most so many test problems; ``None``: all.
        seed: of the draw.
        training: whether training problems are loaded at all.

    Raises:
        ValueError: an unknown option, a data set that cannot be loaded or has other columns, no test problems.
    """
    name, (copy, test_spec) = spec.name, _options(spec)
    benchmark = BENCHMARKS[name]
    if test_spec:
        test = _test_rows(test_spec)
    elif benchmark.test:
        test = _rows(name, benchmark.test, copy)
    else:
        raise ValueError(f"math:{name} has no test problems; name some, such as math:{name}?test=math:aime24")
    if test_spec and not benchmark.train:
        raise ValueError(f"test={test_spec} is for tasks with training problems; math:{name} has none")
    train = _rows(name, benchmark.train, copy) if training and benchmark.train else []
    held_out = {row.problem for row in test}
    kept = [row for row in train if row.problem not in held_out]
    if len(kept) < len(train):
        shared = len(train) - len(kept)
        logger.warning("%s: %d training problems are test problems and left out", spec.text, shared)
    return problem_task(spec.text, kept, test[:test_size], train_size=train_size, seed=seed, length=benchmark.length)


def _options(spec: TaskSpec) -> tuple[Path | None, str]:
    """Directory of a copy, and spec of other test problems."""
    name, options = spec.name, spec.options
    if not options.keys() <= {"from", "test"} or not all(options.values()):
        raise ValueError(f"math:{name} takes the options from=<dir> and test=<task>, in this order; got {spec.query!r}")
    if "from" not in options:
        return None, options.get("test", "")
    copy = Path(options["from"]).expanduser()
    if not copy.is_dir():
        raise ValueError(f"from must be a directory, a copy of {BENCHMARKS[name].hub_id}; got {options['from']!r}")
    return copy, options.get("test", "")


def _test_rows(text: str) -> list[Row]:
    spec = parse_spec(text)
    if spec.kind == "jsonl" and spec.name:
        if spec.options:
            raise ValueError(f"test=jsonl:<path> takes no options of its own; got {text!r}")
        return read_rows(Path(spec.name).expanduser())
    name = spec.name
    with_test = [each for each, benchmark in BENCHMARKS.items() if benchmark.test]
    if spec.kind != "math" or name not in with_test:
        raise ValueError(f"test must be jsonl:<path> or math:<name> with one of {', '.join(with_test)}; got {text!r}")
    copy, other = _options(spec)
    if other:
        raise ValueError(f"test must name test problems alone, without a test= of its own; got {text!r}")
    return _rows(name, BENCHMARKS[name].test, copy)


def _rows(name: str, split: str | None, copy: Path | None) -> list[Row]:
    """The rows of a split, each problem once."""
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
            f"math:{name} cannot be loaded from the hub ({error}). Where there is a network: hf download "
            f"{benchmark.hub_id} --repo-type dataset --local-dir DIR; then here: math:{name}?from=DIR. "
            "Or use a file of your own: jsonl:<path>"
        ) from error
