"""Measure a model of Countdown with search on held-out problems, and write the figures into its README.md.

    python scripts/measure_search_model.py --model src/entroshape/assets/countdown-search

The completions are those of `entroshape eval` with the same options. The task's verifier also gives the shares of
completions without an error, of those that give up, and of those that are cut at the limit. This takes minutes on one
CPU thread.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from entroshape.evaluation import EvaluationResult, evaluate
from entroshape.models import load_model
from entroshape.tasks import Task, load_task
from entroshape.tasks.countdown_search import read_response

HEADING = "\n## Success before any reinforcement learning\n"


def row_of(name: str, temperature: float, result: EvaluationResult, task: Task, samples: int) -> str:
    """One line of the table."""
    of_problem = {row["id"]: (row["numbers"], row["target"]) for row in task.test}
    readings = [read_response(*of_problem[row["problem"]], row["completion"].split()) for row in result.rows]
    ks = [k for k in (16, 32) if k <= samples]
    shares = [
        result.metrics[f"mean@{samples}"],
        *(result.metrics[f"pass@{k}"] for k in ks),
        sum(reading.first_error is None for reading in readings) / len(readings),
        sum(reading.ended and not reading.hit for reading in readings) / len(readings),
        sum(row["cut"] for row in result.rows) / len(result.rows),
    ]
    length = sum(row["length"] for row in result.rows) / len(result.rows)
    return f"| {name} | {temperature:g} | {' | '.join(f'{100 * share:.1f}' for share in shares)} | {length:.0f} |"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory of the model; its README.md is completed")
    parser.add_argument("--levels", nargs="+", default=["hard", "middle", "easy"])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[1.0, 0.7])
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    model, tokenizer = load_model(arguments.model)
    ks = [k for k in (16, 32) if k <= arguments.samples]
    figures = [f"Mean@{arguments.samples}", *(f"Pass@{k}" for k in ks), "valid", "gives up", "cut", "length"]
    titles = ["level", "T", *figures]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for level in arguments.levels:
        task = load_task(f"countdown_search?level={level}", train_size=1, test_size=arguments.problems)
        for temperature in arguments.temperatures:
            with tqdm(total=arguments.problems * arguments.samples, desc=f"{level}, T = {temperature:g}") as bar:
                result = evaluate(
                    model,
                    tokenizer,
                    task,
                    samples=arguments.samples,
                    temperature=temperature,
                    seed=arguments.seed,
                    progress=lambda done, total, bar=bar: bar.update(done - bar.n),
                )
            lines.append(row_of(level, temperature, result, task, arguments.samples))
            print(lines[-1])
    text = (
        f"{HEADING}\n```sh\n{shlex.join(['python', *sys.argv])}\n```\n\n"
        f"{arguments.problems} held-out problems of each level, {arguments.samples} samples each, at most "
        f"{task.max_completion_length} tokens. All in percent but the length, in tokens. Valid: without an error.\n\n"
        + "\n".join(lines)
        + "\n"
    )
    card = Path(arguments.model) / "README.md"
    before = card.read_text(encoding="utf-8").partition(HEADING)[0] if card.exists() else ""
    card.write_text(before + text, encoding="utf-8")


if __name__ == "__main__":
    main()
