"""Time of sampling and of a training step: transformers' generate and our loop, in turn, with the same weights.

    python benchmarks/sampling.py

Both draw from the same distribution with their own random numbers, so the completions differ; every turn has other
seeds. Dynamic sampling is off, so that both sample the same number of completions. Times are seconds of the processor,
of one thread, because they depend less on what else runs on the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import disable_progress_bars
from side_by_side import ratio, seconds, table, write
from step import GROUP, PROMPTS, SAMPLER, Run
from transformers.utils.logging import disable_progress_bar

from entroshape.assets import bundled_model_of
from entroshape.evaluation.sampler import SampledCompletion
from entroshape.evaluation.transformers_sampler import TransformersSampler
from entroshape.models import load_model
from entroshape.sampling.loop import sample_tokens
from entroshape.tasks import load_task

TASKS = ("countdown", "countdown_search")
GENERATE, STAY, OWN = "`generate`", "our loop, finished rows stay", "our loop"


def sampler_of(task: Any, rows: list[str], kind: str) -> Callable[[int], list[SampledCompletion]]:
    """A function that samples a completion per row from a seed."""
    model, tokenizer = load_model(bundled_model_of(task.name))
    sampler = TransformersSampler(model, tokenizer)
    ids = sampler.tokenize(rows)
    options: dict[str, Any] = {"max_new_tokens": task.max_completion_length, "temperature": 1.0}
    if kind == STAY:
        ends = [tokenizer.eos_token_id]
        return lambda seed: sample_tokens(model, ids, seed=seed, ends=ends, compact_at=2.0, **options).rows()
    if kind == GENERATE:
        sampler.instead = "it is measured"
    return lambda seed: sampler.sample(ids, seed=seed, **options)


def beside_generate(heads: list[str], times: dict[str, dict[str, list[float]]]) -> list[str]:
    """A table with a row per measurement and way of sampling, compared with ``generate``."""
    rows = [
        [what, kind, seconds(values), ratio(values, own[GENERATE])]
        for what, own in times.items()
        for kind, values in own.items()
    ]
    return table([*heads, "time", "vs `generate`"], rows)


def sampling(turns: int) -> None:
    """A batch of training, and one of an evaluation with 32 completions per problem."""
    times: dict[str, dict[str, list[float]]] = {}
    for name in TASKS:
        task = load_task(name, train_size=400, test_size=8, seed=0)
        for what, group in ((f"{name}, 8 x 16", 16), (f"{name}, 8 x 32", 32)):
            rows = [prompt for prompt in task.train["prompt"][:PROMPTS] for _ in range(group)]
            runs = {kind: sampler_of(task, rows, kind) for kind in (GENERATE, STAY, OWN)}
            own = times[what] = {kind: [] for kind in runs}
            for turn in range(turns + 1):
                for kind, run in runs.items():
                    start = time.process_time()
                    run(turn)
                    if turn:
                        own[kind].append(time.process_time() - start)
            print(f"  sampling {what}", file=sys.stderr, flush=True)
    note = f"{turns} turns, one thread, seconds of the processor."
    write("sampling", [*beside_generate(["prompts x completions", ""], times), "", note], times)


def steps(count: int, turns: int) -> None:
    """A training step."""
    times: dict[str, dict[str, list[float]]] = {}
    for name in TASKS:
        task = load_task(name, train_size=400, test_size=8, seed=0)
        runs = {
            kind: Run("gtpo", {**SAMPLER, "sampler": choice}, count, task, time.process_time)
            for kind, choice in ((GENERATE, "generate"), (OWN, "own"))
        }
        own = times[name] = {kind: [] for kind in runs}
        for turn in range(turns + 1):
            for kind, run in runs.items():
                took, _ = run.seconds()
                if turn:
                    own[kind].append(took)
        print(f"  steps of {name}", file=sys.stderr, flush=True)
    note = (
        f"`gtpo`, {PROMPTS} prompts x {GROUP} completions, 2 updates, {count} steps per turn, {turns} turns, "
        "one thread, seconds of the processor."
    )
    write("sampled-steps", [*beside_generate(["a step of", "sampled by"], times), "", note], times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="number of turns over all variants")
    parser.add_argument("--steps", type=int, default=3, help="steps per turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bars()
    disable_progress_bar()
    sampling(options.turns)
    steps(options.steps, options.turns)


if __name__ == "__main__":
    main()
