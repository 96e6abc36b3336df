"""A task's problems in verl's format, and its verifier as verl's reward function.

    python scripts/verl_data.py --task "math:dapo17k?test=math:aime24" --output data/dapo17k
    python scripts/verl_data.py --task math:math500 --output data/math500
    python scripts/verl_data.py --task countdown --output data/countdown --bundled-model

writes OUTPUT/train.parquet (where the task has training problems) and OUTPUT/test.parquet; with --bundled-model also
OUTPUT/model, with the chat template that verl asks for. This file is the reward function too:

    reward.custom_reward_function.path=scripts/verl_data.py

whose name is verl's default, compute_score. Its ``acc`` is 1 for a right answer, and what
algorithm.filter_groups.metric should be.
"""

from __future__ import annotations

import argparse
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entroshape.models import load_model
from entroshape.tasks import Task, load_task
from entroshape.tasks.base import RewardFunction
from entroshape.tasks.math_verifier import MathReward

MATHEMATICS = ("math:", "jsonl:")
"""Tasks whose verifier needs none of their data."""


@lru_cache(maxsize=8)
def verifier(task: str) -> RewardFunction:
    """The task's verifier, once a process."""
    if task.startswith(MATHEMATICS):
        return MathReward(workers=1)
    return load_task(task, train_size=1, test_size=1).reward


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **options: Any
) -> dict[str, float]:
    """What verl calls: the reward of one response, also under the name ``acc``."""
    columns = {name: [value] for name, value in json.loads(ground_truth).items()}
    (reward,) = verifier(data_source)([""], [solution_str], **columns)
    return {"score": reward, "acc": reward}


def rows(task: Task, split: str) -> list[dict[str, Any]]:
    """The problems of a split in the columns that verl reads."""
    out = []
    for index, problem in enumerate(getattr(task, split)):
        columns = {name: value for name, value in problem.items() if name not in ("id", "prompt")}
        text = f"{problem['prompt']}\n\n{task.instruction}" if task.instruction else problem["prompt"]
        out.append(
            {
                "data_source": task.name,
                "prompt": [{"role": "user", "content": text}],
                "ability": task.name.partition(":")[0],
                "reward_model": {"style": "rule", "ground_truth": json.dumps(columns)},
                "extra_info": {"index": index, "id": problem["id"], "split": split},
            }
        )
    return out


def write_bundled_model(path: Path) -> None:
    model, tokenizer = load_model("countdown-tiny")
    tokenizer.chat_template = "{{ bos_token }} {{ messages[0]['content'] }}"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="countdown", help="as in entroshape train --task")
    parser.add_argument("--output", type=Path, required=True, help="a directory")
    parser.add_argument("--train-size", type=int, help="at most so many training problems")
    parser.add_argument("--test-size", type=int, help="at most so many held-out problems")
    parser.add_argument("--seed", type=int, default=0, help="of the training problems")
    parser.add_argument("--bundled-model", action="store_true", help="write the bundled tiny model beside them")
    options = parser.parse_args()
    task = load_task(
        options.task, train_size=options.train_size, test_size=options.test_size, seed=options.seed, training=False
    )
    options.output.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        problems = rows(task, split)
        if problems:
            pq.write_table(pa.Table.from_pylist(problems), options.output / f"{split}.parquet")
            print(f"{options.output / f'{split}.parquet'}: {len(problems)} problems")
    if options.bundled_model:
        write_bundled_model(options.output / "model")


if __name__ == "__main__":
    main()
