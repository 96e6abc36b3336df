"""Records of a comparison with points: a start, a baseline and methods with planted success probabilities."""

import numpy as np

from entroshape.experiments import Comparison, parse_arms
from entroshape.metrics.points import EvaluationPoint
from entroshape.training.config import TrainConfig

TEMPERATURES = (0.0, 0.3, 0.6, 1.0)


def record(arm, seed, points=None):
    after = {"mean@32": 0.3, "pass@1": 0.3, "pass@16": 0.6, "pass@32": 0.7, "problems": 8.0, "samples": 32.0}
    kept = {} if points is None else {"points": [point.to_dict() for point in points]}
    return {
        "arm": arm,
        "seed": seed,
        "steps": 100,
        "before": {**after, "mean@32": 0.1},
        "after": after,
        "pass_curve": [0.3, 0.5, 0.6, 0.7],
        "curves": {"step": [1, 2, 3], "success_rate": [0.1, 0.2, 0.3], "entropy": [0.3, 0.2, 0.2]},
        "evaluations": {},
        "seconds": 10.0,
        "environment": None,
        **kept,
    }


def planted(seed, gain, *, problems=64, samples=32, steps=(50, 100), weights=("last",), temperatures=TEMPERATURES):
    """The points of a run: its start, and its weights at some steps, ``gain`` above the baseline on every problem."""
    generator, starts = np.random.default_rng(1000 * seed + int(1000 * gain)), np.random.default_rng(seed)
    difficulty = starts.normal(-2.5, 2.0, problems)

    def point(kind, step, temperature, draws):
        shift = 0.0 if kind == "start" else step / 100
        logits = difficulty + shift + 2.5 * (1 - temperature)
        chance = logits > 0 if temperature == 0 else 1 / (1 + np.exp(-logits / temperature))
        chance = np.minimum(1, chance + (gain if kind != "start" else 0))
        n = samples if temperature else 1
        counts = tuple(int(count) for count in draws.binomial(n, chance))
        return EvaluationPoint(weights=kind, step=step, temperature=temperature, samples=n, successes=counts)

    start = [point("start", 0, each, starts) for each in temperatures]
    return start + [point(kind, step, each, generator) for kind in weights for step in steps for each in temperatures]


def compared(gains, seeds=3, **options):
    records = [
        record(arm, seed, planted(seed, gain, **options)) for arm, gain in gains.items() for seed in range(seeds)
    ]
    return Comparison(base=TrainConfig(), arms=parse_arms(list(gains)), baseline=next(iter(gains)), records=records)
