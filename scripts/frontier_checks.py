"""Check the hull of docs/frontiers.md: a method that equals the baseline, and random numbers that points share.

    python scripts/frontier_checks.py null --seeds 200
    python scripts/frontier_checks.py shared --problems 128

`null` simulates a start, a baseline, and a method with the baseline's own success probabilities, and prints what the
figures beyond the hull are on average. `shared` samples the bundled Countdown model at three temperatures, with the
same random numbers and with others, and prints Pass@k of coins between them.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from statistics import mean, stdev

import numpy as np
import torch

from entroshape.evaluation import evaluate
from entroshape.evaluation.points import point_of
from entroshape.metrics.coins import Coin
from entroshape.metrics.margins import SplitHull, above_hull, area_beyond_hull, mean_above_hull
from entroshape.metrics.points import REPORTED, EvaluationPoint
from entroshape.models import load_model
from entroshape.tasks import load_task

SAMPLES = 32
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STEPS = (100, 200, 300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=("null", "shared"))
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--problems", type=int, default=256)
    options = parser.parse_args()
    if options.check == "null":
        null(options.seeds, options.problems)
    else:
        shared(options.problems)


def null(seeds: int, problems: int) -> None:
    """Prints the figures of a method that equals the baseline, as means over seeds with standard errors."""
    figures: dict[str, list[float]] = {}
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        difficulty = generator.normal(-3.0, 2.0, problems)
        gains = {step: generator.normal(0.5 + step / 200, 0.6, problems) for step in STEPS}
        start = [_sampled(generator, difficulty, t, "start", 0) for t in TEMPERATURES]
        baseline, method = (
            [_sampled(generator, difficulty + gains[step], t, "last", step) for step in STEPS for t in TEMPERATURES]
            for _ in range(2)
        )
        for k in REPORTED:
            hull = SplitHull((*start, *baseline), k)
            figures.setdefault(f"Pass@{k} above the hull", []).append(100 * above_hull(method, hull).value)
            figures.setdefault(f"Mean above the hull at Pass@{k}", []).append(100 * mean_above_hull(method, hull).value)
            figures.setdefault(f"area at Pass@{k}", []).append(area_beyond_hull(method, hull) or 0.0)
    for name, values in figures.items():
        print(f"{name}: {mean(values):+.2f} ± {stdev(values) / seeds**0.5:.2f}, standard deviation {stdev(values):.1f}")


def _sampled(
    generator: np.random.Generator, ease: np.ndarray, temperature: float, weights: str, step: int
) -> EvaluationPoint:
    """Counts of a model: the colder it is sampled, the more middling problems it solves, and the fewer hard ones."""
    logits = ease + 2.5 * (1 - temperature)
    chance = (logits > 0) * 1.0 if temperature == 0 else 1 / (1 + np.exp(-np.clip(logits / temperature, -40, 40)))
    samples = SAMPLES if temperature else 1
    return EvaluationPoint(
        weights=weights,
        step=step,
        temperature=temperature,
        samples=samples,
        successes=tuple(int(count) for count in generator.binomial(samples, chance)),
    )


def shared(problems: int) -> None:
    """Prints Pass@k of coins between temperatures, with shared random numbers and with others."""
    torch.set_num_threads(1)
    model, tokenizer = load_model("countdown-tiny")
    task = load_task("countdown")
    rows = {
        (temperature, seed): evaluate(
            model, tokenizer, task, samples=SAMPLES, problems=problems, temperature=temperature, seed=seed
        ).rows
        for temperature in (0.4, 0.7, 1.0)
        for seed in (0, 1)
    }
    for cold, hot in combinations((0.4, 0.7, 1.0), 2):
        alike = mean(_correlation(rows[cold, seed], rows[hot, seed]) for seed in (0, 1))
        print(f"T {cold} and {hot}: correlation of successes with shared random numbers {alike:.2f}")
        for k in REPORTED:
            passed = {
                (i, j): Coin(
                    first=point_of(rows[cold, i], weights="start", step=0, temperature=cold),
                    second=point_of(rows[hot, j], weights="start", step=0, temperature=hot),
                    weight=0.5,
                ).pass_at(k)
                for i in (0, 1)
                for j in (0, 1)
            }
            same, other = mean((passed[0, 0], passed[1, 1])), mean((passed[0, 1], passed[1, 0]))
            print(f"  Pass@{k} of the coin: {100 * same:.1f} % with shared numbers, {100 * other:.1f} % with others")


def _correlation(one: list[dict], other: list[dict]) -> float:
    """Of the successes of completions with the same random numbers, within problems."""
    first, second = (np.array([float(row["success"]) for row in rows]).reshape(-1, SAMPLES) for rows in (one, other))
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (first, second))
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


if __name__ == "__main__":
    main()
