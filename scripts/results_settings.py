"""The settings of docs/results.md: which arms, on which task, with which seeds, and what decides.

Settings with a primary metric were written down, with arms and seeds, before their first run. Whatever else is looked
at in them afterwards is exploratory.
"""

from __future__ import annotations

from dataclasses import dataclass

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

FRONTIER_PAGE = "results-frontiers.md"

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
    "search-hard": Setting(
        arms=LONG_CHAIN,
        options=[
            "--task=countdown_search?level=hard",
            "--steps=100",
            "--eval-every=50",
            "--eval-problems=128",
            *FRONTIER,
        ],
        seeds=10,
        first_seed=1000,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
    "search-hard-more": Setting(
        arms=LONG_CHAIN_MORE,
        options=[
            "--task=countdown_search?level=hard",
            "--steps=100",
            "--eval-every=50",
            "--eval-problems=128",
            *FRONTIER,
        ],
        seeds=10,
        first_seed=1600,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
    "search-middle": Setting(
        arms=LONG_CHAIN,
        options=[
            "--task=countdown_search?level=middle",
            "--steps=100",
            "--eval-every=50",
            "--eval-problems=128",
            *FRONTIER,
        ],
        seeds=10,
        first_seed=1100,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
    "search-longer": Setting(
        arms=LONG_CHAIN[:5],
        options=[
            "--task=countdown_search?level=hard",
            "--steps=300",
            "--eval-every=100",
            "--eval-problems=128",
            *FRONTIER,
        ],
        seeds=10,
        first_seed=1200,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
    "countdown-frontier": Setting(
        arms=SHORT,
        options=["--steps=300", "--eval-every=100", *FRONTIER],
        seeds=10,
        first_seed=1300,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
    "paths-frontier": Setting(
        arms=SHORT,
        options=[
            f"--task={PATHS}",
            "--learning-rate=7e-5",
            "--max-completion-length=24",
            "--steps=300",
            "--eval-every=100",
            "--eval-problems=128",
            "--train-size=2000",
            *FRONTIER,
        ],
        warm_start=[f"--task={PATHS}", "--steps=300", *SMALL_MODEL],
        model="shortest-path",
        seeds=10,
        first_seed=1400,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
    "rewriting-frontier": Setting(
        arms=SHORT,
        options=[
            f"--task={REWRITING}",
            "--learning-rate=5e-5",
            "--max-completion-length=28",
            "--steps=300",
            "--eval-every=100",
            "--eval-problems=128",
            "--train-size=2000",
            *FRONTIER,
        ],
        warm_start=[f"--task={REWRITING}", "--steps=150", *SMALL_MODEL],
        model="rewriting",
        seeds=10,
        first_seed=1500,
        primary="above-hull@32",
        page=FRONTIER_PAGE,
    ),
}
"""All settings by name.

Countdown needs search, and countdown_search writes the search down, in about 130 tokens. Shortest path needs
planning and has many solutions. Rewriting is a calculation with one.
"""
