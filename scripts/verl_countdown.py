"""Countdown with the bundled model, for verl: its model, its data, its reward function.

    python scripts/verl_countdown.py --output data/verl-countdown

writes OUTPUT/model (with the chat template that verl asks for), OUTPUT/train.parquet and OUTPUT/test.parquet. This file
is the reward function too: reward.custom_reward_function.path=scripts/verl_countdown.py, name compute_score.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from entroshape.models import load_model
from entroshape.tasks.countdown import Problem, held_out_problems, is_solution, training_problems

DATA_SOURCE = "countdown"


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None, **options: Any
) -> dict[str, float]:
    """1 for a right answer to the problem that ``ground_truth`` spells out, else 0, as verl calls it."""
    numbers, target = ground_truth.removesuffix(" :").split(" > ")
    right = float(is_solution([int(number) for number in numbers.split()], int(target), solution_str))
    return {"score": right, "acc": right}


def row(problem: Problem, index: int) -> dict[str, Any]:
    """A problem in the columns that verl reads."""
    return {
        "data_source": DATA_SOURCE,
        "prompt": [{"role": "user", "content": problem.prompt}],
        "ability": "arithmetic",
        "reward_model": {"style": "rule", "ground_truth": problem.prompt},
        "extra_info": {"index": index},
    }


def write(output: Path, *, train_size: int, test_size: int, seed: int) -> None:
    model, tokenizer = load_model("countdown-tiny")
    tokenizer.chat_template = "{{ bos_token }} {{ messages[0]['content'] }}"
    model.save_pretrained(output / "model")
    tokenizer.save_pretrained(output / "model")
    for name, problems in (
        ("train", list(islice(training_problems(seed), train_size))),
        ("test", list(held_out_problems()[:test_size])),
    ):
        rows = [row(problem, index) for index, problem in enumerate(problems)]
        pq.write_table(pa.Table.from_pylist(rows), output / f"{name}.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("data/verl-countdown"))
    parser.add_argument("--train-size", type=int, default=2000)
    parser.add_argument("--test-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.output, train_size=options.train_size, test_size=options.test_size, seed=options.seed)
    print(f"{options.output}: model, {options.train_size} training and {options.test_size} test problems")


if __name__ == "__main__":
    main()
