"""Writes a task's problems in verl's format, and is verl's reward function for them.

    python -m entroshape.verl_data --task "math:dapo17k?test=math:aime24" --output data/dapo17k
    python -m entroshape.verl_data --task math:math500 --output data/math500
    python -m entroshape.verl_data --task countdown --output data/countdown --bundled-model

This writes OUTPUT/train.parquet and OUTPUT/test.parquet, or only the latter if the task has no training problems.
With --splits train test, a missing split is an error. --bundled-model also writes OUTPUT/model, with the chat template
that verl needs. verl averages its validation scores per data_source: for math: tasks, that is the name of the data set.

To make verl use this module as its reward function (verl's default name is compute_score):

    reward.custom_reward_function.path=pkg://entroshape.verl_data

In addition to the score, it returns ``acc``, which is 1 for a success. Set algorithm.filter_groups.metric to it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entroshape.models import load_model
from entroshape.tasks import Task, load_task
from entroshape.tasks.base import RewardFunction
from entroshape.tasks.benchmarks import BENCHMARKS
from entroshape.tasks.math_verifier import MathReward

MATHEMATICS = ("math:", "jsonl:")
"""Tasks with a verifier that does not depend on their problems."""

SPLITS = ("train", "test")


@lru_cache(maxsize=8)
def verifier(task: str) -> RewardFunction:
    """The task's verifier, cached in each process."""
    if task.startswith(MATHEMATICS):
        return MathReward(workers=1)
    return load_task(task, train_size=1, test_size=1).reward


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **options: Any
) -> dict[str, float]:
    """The reward of one completion, also under the name ``acc``. Called by verl."""
    columns = {name: [value] for name, value in json.loads(ground_truth).items()}
    (reward,) = verifier(data_source)([""], [solution_str], **columns)
    return {"score": reward, "acc": reward}


def source(task: str, split: str) -> str:
    """The ``data_source`` of a row: the name of the task, or for ``math:`` tasks of the data set that the row is from.

    >>> source("math:dapo17k?from=copy&test=math:aime24", "train"), source("math:dapo17k?test=math:aime24", "test")
    ('math:dapo17k', 'math:aime24')
    """
    if not task.startswith("math:"):
        return task
    own, named, test = task.partition("test=")
    return (test if named and split == "test" else own).partition("?")[0]


def has_training_problems(task: str) -> bool:
    """Whether to ask ``load_task`` for training problems, which matters only for ``math:`` tasks."""
    kind, _, rest = task.partition(":")
    benchmark = BENCHMARKS.get(rest.partition("?")[0])
    return kind == "math" and benchmark is not None and benchmark.train is not None


def rows(task: Task, split: str) -> list[dict[str, Any]]:
    """The problems of a split in the columns that verl reads."""
    out = []
    for index, problem in enumerate(getattr(task, split)):
        columns = {name: value for name, value in problem.items() if name not in ("id", "prompt")}
        text = f"{problem['prompt']}\n\n{task.instruction}" if task.instruction else problem["prompt"]
        out.append(
            {
                "data_source": source(task.name, split),
                "prompt": [{"role": "user", "content": text}],
                "ability": task.name.partition(":")[0],
                "reward_model": {"style": "rule", "ground_truth": json.dumps(columns)},
                "extra_info": {"index": index, "id": problem["id"], "split": split},
            }
        )
    return out


def write_bundled_model(path: Path) -> None:
    """Writes the bundled tiny model, with a chat template that passes the prompt through."""
    model, tokenizer = load_model("countdown-tiny")
    tokenizer.chat_template = "{{ bos_token }} {{ messages[0]['content'] }}"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def write_problems(task: Task, output: Path, splits: Sequence[str] | None = None) -> None:
    """Writes ``OUTPUT/SPLIT.parquet`` for each of ``splits``; ``None``: for the splits that the task has.

    Raises:
        ValueError: a requested split has no problems, or no split has any.
    """
    problems = {split: rows(task, split) for split in splits or SPLITS}
    missing = [split for split in problems if not problems[split]]
    if missing and (splits or len(missing) == len(problems)):
        raise ValueError(f"task {task.name!r} has no {' and no '.join(missing)} problems; nothing is written")
    output.mkdir(parents=True, exist_ok=True)
    for split, found in problems.items():
        path = output / f"{split}.parquet"
        if found:
            pq.write_table(pa.Table.from_pylist(found), path)
        print(f"{path}: {len(found)} problems" if found else f"{path}: not written, the task has no {split} problems")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m entroshape.verl_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="countdown", help="as in entroshape train --task")
    parser.add_argument("--output", type=Path, required=True, help="the directory to write to")
    parser.add_argument(
        "--splits", nargs="+", choices=SPLITS, help="splits that must be written; by default those that the task has"
    )
    parser.add_argument("--train-size", type=int, help="maximum number of training problems")
    parser.add_argument("--test-size", type=int, help="maximum number of held-out problems")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training problems")
    parser.add_argument("--bundled-model", action="store_true", help="also write the bundled tiny model")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    options = parse(arguments)
    sizes = {"train_size": options.train_size, "test_size": options.test_size, "seed": options.seed}
    task = load_task(options.task, **sizes, training=has_training_problems(options.task))
    write_problems(task, options.output, options.splits)
    if options.bundled_model:
        write_bundled_model(options.output / "model")


if __name__ == "__main__":
    main()
