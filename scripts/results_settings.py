"""The settings of docs/results.md: which arms, on which task, with which seeds, and what decides.

Settings with a primary metric were written down, with arms and seeds, before their first run. Whatever else is looked
at in them afterwards is exploratory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

READINGS = [
    "dapo",
    "gtpo",
    "gtpo_random",
    "gtpo_uniform",
    "grpo_s",
    "grpo",
    "dapo_forking",
    "gtpo:normalization=joint",
    "gtpo:normalization=within",
    "gtpo_surprisal",
    "gtpo:entropy_clip=[0.2,0.28]",
    "gtpo:comparison_scope=batch",
    "gtpo:axis=row",
    "gtpo:axis=matrix",
    "gtpo:dynamic_sampling=false",
    "gtpo:gate=false:dynamic_sampling=false",
]
"""Methods, readings of the paper and controls."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One comparison of the results."""

    arms: list[str]
    options: list[str]
    warm_start: list[str] | None = None
    """Arguments of scripts/warm_start.py that make the initial model, models/NAME. None: the bundled model."""
    model: str = ""
    """The folder in models/, if it differs from the setting's name."""
    seeds: int = 5
    first_seed: int = 0
    primary: str | None = None
    """The metric that decides, declared before the first run."""
    page: str = "results.md"
    """The page under docs/ that shows it."""


SEARCH = [
    "dapo",
    "gtpo:alpha2=0.2",
    "gtpo:alpha2=0.5",
    "gtpo_surprisal:alpha2=0.03",
    "dapo:steps=50",
    "dapo:updates_per_step=4",
    "gtpo:updates_per_step=4",
    "dapo:num_generations=32:prompts_per_step=4",
    "gtpo:num_generations=32:prompts_per_step=4",
]
"""Options that might matter: each arm with training options is compared with DAPO under the same options."""

PATHS = "reasoning_gym:shortest_path?min_rows=6&max_rows=6&min_cols=6&max_cols=6&p_blocked=0.3"
REWRITING = "reasoning_gym:ab?length=14"
SMALL_MODEL = ["--hidden=96", "--layers=3"]
SMALL_RUN = [
    "--eval-samples=32",
    "--eval-problems=128",
    "--train-size=2000",
    "--threads=1",
    "--parallel=2",
]

SEARCH_HARD = ["--task=countdown_search?level=hard", "--eval-problems=128"]
SEARCH_MIDDLE = ["--task=countdown_search?level=middle", "--eval-problems=128"]
SMALL_DATA = ["--eval-problems=128", "--train-size=2000"]

LONG_CHAIN = ["dapo", "gtpo", "gtpo_uniform", "gtpo_random", "opo", "dapo:aggregation=sequence_mean"]
"""GTPO differs from DAPO in its entropy weights, in its baseline over tokens, and in what follows for long, cut
failures. Each arm has one of these: the baseline alone (``gtpo_uniform``), weights of other tokens (``gtpo_random``), a
length-weighted baseline without the standard deviation (``opo``), and DAPO with a mean per completion."""

LONG_CHAIN_MORE = [
    "dapo",
    "dapo:overlong={kind: soft, max_length: 160, cache: 32}",
    "dapo:mask_truncated_completions=true",
    "grpo_s",
    "grpo_s_uniform",
    "gtpo_surprisal",
    "gtpo:failure_signal=direct",
]
"""DAPO with a punishment of long completions, and with cut ones left out; GRPO-S and its control; other weights."""

SHORT = ["dapo", "gtpo", "gtpo_uniform", "gtpo_random", "gtpo_surprisal", "grpo_s", "grpo_s_uniform", "opo", "grpo"]

FRONTIER = [
    "--eval-samples=32",
    "--old-logprobs=sampler",
    "--dynamic-sampling=False",  # all arms sample the same number of completions
    "--ema-decay=0.98",
    "--eval-temperatures=0,0.7,1.0",
    "--threads=1",
]


def declared(task: list[str], arms: list[str], first_seed: int, steps: int, eval_every: int, **start: Any) -> Setting:
    """A setting whose arms, seeds and primary metric are declared, evaluated over temperatures.

    Args:
        task: the options of the task.
        arms: the arms.
        first_seed: the first of ten seeds that no other setting uses.
        steps: number of training steps.
        eval_every: steps between evaluations.
        **start: ``warm_start`` and ``model`` of the setting.
    """
    return Setting(
        arms=arms,
        options=[*task, f"--steps={steps}", f"--eval-every={eval_every}", *FRONTIER],
        seeds=10,
        first_seed=first_seed,
        primary="above-hull@32",
        page="results-frontiers.md",
        **start,
    )


SETTINGS = {
    "countdown": Setting(arms=READINGS, options=["--eval-samples=32"]),
    "confirmation": Setting(
        arms=["dapo", "gtpo", "gtpo_random", "gtpo_uniform"],
        options=["--eval-samples=32", "--old-logprobs=sampler"],
        seeds=10,
        first_seed=100,
    ),
    "search": Setting(arms=SEARCH, options=["--eval-samples=32", "--old-logprobs=sampler"], seeds=3),
    "longer": Setting(
        arms=["dapo", "gtpo", "gtpo_surprisal", "dapo_forking", "dapo:epsilon_high=1.0"],
        options=["--eval-samples=32", "--old-logprobs=sampler", "--steps=300"],
        seeds=3,
    ),
    "long-confirmation": Setting(
        arms=["dapo", "gtpo_surprisal", "dapo:steps=60"],
        options=["--eval-samples=32", "--old-logprobs=sampler", "--steps=300"],
        seeds=8,
        first_seed=200,
    ),
    "shortest-path": Setting(
        arms=READINGS,
        options=[f"--task={PATHS}", "--learning-rate=7e-5", "--max-completion-length=24", "--steps=100", *SMALL_RUN],
        warm_start=[f"--task={PATHS}", "--steps=300", *SMALL_MODEL],
    ),
    "long-paths": Setting(
        arms=["dapo", "gtpo_surprisal"],
        options=[f"--task={PATHS}", "--learning-rate=7e-5", "--max-completion-length=24", *SMALL_RUN, "--steps=300"],
        warm_start=[f"--task={PATHS}", "--steps=300", *SMALL_MODEL],
        model="shortest-path",
    ),
    "rewriting": Setting(
        arms=READINGS,
        options=[
            f"--task={REWRITING}",
            "--learning-rate=5e-5",
            "--max-completion-length=28",
            "--steps=100",
            *SMALL_RUN,
        ],
        warm_start=[f"--task={REWRITING}", "--steps=150", *SMALL_MODEL],
    ),
    "harder": Setting(
        arms=["dapo", "gtpo", "gtpo_surprisal"],
        options=[
            "--task=reasoning_gym:ab?length=16",
            "--learning-rate=5e-5",
            "--max-completion-length=32",
            "--steps=100",
            *SMALL_RUN,
        ],
        warm_start=[f"--task={REWRITING}", "--steps=150", *SMALL_MODEL],
        model="rewriting",
        seeds=3,
    ),
    "search-hard": declared(SEARCH_HARD, LONG_CHAIN, 1000, steps=100, eval_every=50),
    "search-hard-more": declared(SEARCH_HARD, LONG_CHAIN_MORE, 1600, steps=100, eval_every=50),
    "search-middle": declared(SEARCH_MIDDLE, LONG_CHAIN, 1100, steps=100, eval_every=50),
    "search-longer": declared(SEARCH_HARD, LONG_CHAIN[:5], 1200, steps=300, eval_every=100),
    "countdown-frontier": declared([], SHORT, 1300, steps=300, eval_every=100),
    "paths-frontier": declared(
        [f"--task={PATHS}", "--learning-rate=7e-5", "--max-completion-length=24", *SMALL_DATA],
        SHORT,
        1400,
        steps=300,
        eval_every=100,
        warm_start=[f"--task={PATHS}", "--steps=300", *SMALL_MODEL],
        model="shortest-path",
    ),
    "rewriting-frontier": declared(
        [f"--task={REWRITING}", "--learning-rate=5e-5", "--max-completion-length=28", *SMALL_DATA],
        SHORT,
        1500,
        steps=300,
        eval_every=100,
        warm_start=[f"--task={REWRITING}", "--steps=150", *SMALL_MODEL],
        model="rewriting",
    ),
}
"""All settings by name.

Countdown needs search, and countdown_search writes the search down, in about 130 tokens. Shortest path needs
planning and has many solutions. Rewriting is a calculation with one.
"""
