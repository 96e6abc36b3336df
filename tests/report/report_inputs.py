"""Runs to report on: made up, in the shape and size of a real one."""

import numpy as np

from entroshape.evaluation import evaluation_metrics
from entroshape.runs import RunDirectory

CONFIG = {
    "task": "countdown", "model": "countdown-tiny", "method": "gtpo", "method_options": {"alpha2": 0.1}, "steps": 100,
    "prompts_per_step": 8, "num_generations": 16, "learning_rate": 1e-4, "temperature": 1.0, "lora_rank": 0, "seed": 0,
}  # fmt: skip


def step_metrics(step: int, steps: int, generator: np.random.Generator) -> dict:
    done = step / steps
    noise = generator.normal
    success = 0.095 + 0.11 * done + noise(0, 0.025)
    entropy = 0.33 - 0.11 * done + noise(0, 0.008)
    return {
        "step": step,
        "optimizer_step": 2 * step,
        "reward": success,
        "success_rate": success,
        "entropy": entropy,
        "entropy_success": entropy - 0.05 + noise(0, 0.012),
        "entropy_failure": entropy + 0.006,
        "completion_length": 23.1 - 1.4 * done + noise(0, 0.25),
        "share_cut": 0.0,
        "gated_groups": float(generator.integers(0, 3)),
        "refills": float(generator.integers(1, 4)),
        "clip_low": abs(noise(0.002, 0.001)),
        "clip_high": abs(noise(0.0012, 0.001)),
        "shaped_spread": 0.12 - 0.03 * done + abs(noise(0, 0.006)),
        "negative_success_share": abs(noise(0.02, 0.01)),
        "positive_failure_share": abs(noise(0.06, 0.015)),
        "loss": noise(0, 0.01),
        "grad_norm": abs(noise(0.34, 0.05)),
        "learning_rate": 1e-4 * min(1.0, step / 3),
        "seconds_sampling": abs(noise(0.45, 0.06)),
        "seconds_scoring": abs(noise(0.03, 0.006)),
        "seconds_shaping": abs(noise(0.012, 0.003)),
        "seconds_updating": abs(noise(0.28, 0.03)),
        "tokens_per_second": noise(6400, 350),
    }


def evaluation_rows(skill: float, generator: np.random.Generator, *, problems: int = 256, samples: int = 16) -> list:
    ease = generator.beta(0.7 * skill / 0.1, 6.5, problems)
    return [
        {
            "problem": f"p{i}", "sample": j, "prompt": "3 7 5 2 > 24 :", "completion": "3 * 7 = 21", "cut": False,
            "reward": float(won), "success": bool(won), "length": int(20 + 3 * won), "entropy": 0.3 - 0.1 * skill,
        }
        for i in range(problems) for j, won in enumerate(generator.random(samples) < ease[i])
    ]  # fmt: skip


def make_run(path, *, steps: int = 100, evaluated=(0.1, 0.2), **config) -> RunDirectory:
    """A run of ``steps`` steps, evaluated evenly over them, once for each skill in ``evaluated``."""
    generator = np.random.default_rng(0)
    run = RunDirectory.create(path)
    run.write_config({**CONFIG, "steps": steps, **config})
    for step in range(1, steps + 1):
        run.append_metrics(step_metrics(step, steps, generator))
    for i, skill in enumerate(evaluated):
        rows = evaluation_rows(skill, np.random.default_rng(1))
        run.write_evaluation(round(i * steps / max(1, len(evaluated) - 1)), rows, evaluation_metrics(rows))
    return run


def rollout_rows(step: int, *, groups: int = 3, size: int = 4, length: int = 6, token=None, credit=None) -> list:
    """Made-up rollouts: ``token(row, column)`` gives texts, ``credit(row, column)`` numbers."""
    token = token or (lambda row, column: f" t{(row + column) % 7}")
    credit = credit or (lambda row, column: 0.1 * (1 + (row + 2 * column) % 5))
    rows = []
    for row in range(groups * size):
        success = row % size == 0
        own = length + row % 3
        values = [credit(row, column) for column in range(own)]
        sign = 1.0 if success else -1.0
        rows.append(
            {
                "step": step, "group": row // size, "prompt": f"prompt {row // size} of step {step}",
                "completion": "".join(token(row, column) for column in range(own)),
                "tokens": [token(row, column) for column in range(own)], "token_ids": list(range(own)),
                "entropy": values, "shaped_reward": [sign * (1 + value) for value in values],
                "advantage": [sign * value for value in values], "reward": float(success), "success": success,
                "gated": False,
            }
        )  # fmt: skip
    return rows
