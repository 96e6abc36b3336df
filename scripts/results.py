"""Reproduces docs/results.md: every setting is one ``entroshape compare``.

    python scripts/results.py                       # trains what is missing, then writes tables and pictures
    python scripts/results.py countdown --seeds 10  # one setting with more seeds
    python scripts/results.py --only-write          # writes from the existing figures

The figures of every run are kept in docs/results/SETTING/comparison.json. A rerun trains only what is missing there.
Tables are written into docs/results.md between its markers, and pictures into docs/images/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from results_pairs import across_table, pairs_table
from results_pictures import draw_curves, draw_forest, draw_learning

from entroshape.experiments import Comparison, Difference, Spread, read_comparison, summarize
from entroshape.experiments.options import FILE
from entroshape.experiments.table import resolved
from entroshape.metrics.wording import wording

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("mean@32", "pass@16", "pass@32")
PLAIN = ("entropy", "length")

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
}
"""Countdown needs search. Shortest path needs planning and has many solutions. Rewriting is a calculation with one."""


def compare(name: str, setting: Setting, seeds: int | None) -> None:
    """Trains the runs of a setting that have no figures yet."""
    command = [sys.executable, "-m", "entroshape", "compare", "--output", f"docs/results/{name}"]
    command += ["--seeds", str(seeds or setting.seeds), f"--first-seed={setting.first_seed}"]
    command += ["--methods", *setting.arms]
    command += [*setting.options, "--device=cpu", "--save-every=50", "--rollouts-every=50"]
    if setting.warm_start is not None:
        model = f"models/{setting.model or name}"
        if not (ROOT / model / "config.json").is_file():
            start = [sys.executable, "scripts/warm_start.py", *setting.warm_start, f"--output={model}"]
            subprocess.run(start, cwd=ROOT, check=True)
        command.append(f"--model={model}")
    subprocess.run(command, cwd=ROOT, check=True)


def table(comparison: Comparison) -> str:
    """One row per arm: means, and differences to the baseline with their intervals."""
    metrics = [name for name in SHOWN if name in comparison.metrics()]
    heads = [head for name in metrics for head in (name, "difference")] + list(PLAIN)
    lines = [f"| | seeds | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    summaries = summarize(comparison)
    start = summaries[0].before
    before = [cell for name in metrics for cell in (_mean(start.get(name), name), "")]
    lines.append(f"| *before* | | {' | '.join(before + [_mean(start.get(name), name) for name in PLAIN])} |")
    for summary in summaries:
        cells = []
        for name in metrics:
            cells += [_mean(summary.after.get(name), name)]
            cells += [_difference(summary.differences.get(name), name, resolved(summary, name))]
        cells += [_mean(summary.after.get(name), name) for name in PLAIN]
        seeds = max(each.n for each in summary.after.values())
        lines.append(f"| `{summary.arm}` | {seeds} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _below(comparison)])


def _below(comparison: Comparison) -> str:
    records = comparison.records
    seconds = sorted(record["seconds"] for record in records)
    environment = records[0]["environment"] or {}
    versions = ", ".join(f"{name} {environment.get(name)}" for name in ("python", "torch", "trl", "transformers"))
    seeds = sorted({record["seed"] for record in records})
    arm = comparison.arms[1].name
    before, after = (comparison.values(arm, "mean@32", when) for when in ("before", "after"))
    gains = ", ".join(f"{100 * (after[seed] - before[seed]):+.1f}" for seed in sorted(after))
    sampled = ""
    if all(record.get("responses") for record in records):
        means = {arm.name: fmean(r["responses"] for r in records if r["arm"] == arm.name) for arm in comparison.arms}
        sampled = (
            "Completions sampled per run: " + ", ".join(f"`{n}` {value:,.0f}" for n, value in means.items()) + ". "
        )
    return (
        f"{len(records)} runs, seeds {seeds[0]} to {seeds[-1]}. Differences are to `{comparison.baseline}`, seed by "
        "seed, with 95 % intervals over seeds; bold marks those that are significant at 5 % when all rows of the table "
        f"are tested together (Holm). Gain of `{arm}` in Mean@32 over its own start, by seed: {gains} points. {sampled}"
        "Median training time per run, with two or more runs in parallel: "
        f"{seconds[len(seconds) // 2]:.0f} seconds. {versions}."
    )


def _mean(value: Spread | None, name: str) -> str:
    if value is None:
        return ""
    return wording(name).value(value.mean)


def _difference(value: Difference | None, name: str, stands: bool) -> str:
    if value is None or value.low is None or value.high is None:
        return ""
    words = wording(name)
    text = f"{words.number(value.mean, signed=True)} ({words.interval(value.low, value.high, signed=True)})"
    return f"**{text}**" if stands else text


def write(name: str) -> None:
    """Writes the table and the pictures of a setting from its figures."""
    comparison = read_comparison(ROOT / "docs/results" / name / FILE)
    images = ROOT / "docs/images"
    draw_forest(comparison, SHOWN, images / f"{name}-differences.png")
    draw_curves(comparison, images / f"{name}-curves.png")
    if name == "countdown":
        draw_learning(comparison, "gtpo", images / "learning-curve.png")
    _put(name, table(comparison))
    print(f"{name}: {len(comparison.records)} runs in docs/results.md")


def write_across() -> None:
    """Writes the tables that combine several settings."""
    comparisons = {name: read_comparison(ROOT / "docs/results" / name / FILE) for name in SETTINGS}
    _put("across", across_table(comparisons))
    _put("pairs", pairs_table(comparisons))


def _put(name: str, text: str) -> None:
    page = ROOT / "docs/results.md"
    there = page.read_text()
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in there or end not in there:
        raise SystemExit(
            f"{page} has no place for {name}: put {begin} and {end} on lines of their own where it belongs"
        )
    head, tail = there[: there.index(begin) + len(begin)], there[there.index(end) :]
    page.write_text(f"{head}\n{text}\n{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", choices=[*SETTINGS, []], help="which settings; all if none is named")
    parser.add_argument("--seeds", type=int, help="number of seeds, instead of each setting's own")
    parser.add_argument("--only-write", action="store_true", help="train nothing; write from the existing figures")
    options = parser.parse_args()
    for name in options.settings or SETTINGS:
        if not options.only_write:
            compare(name, SETTINGS[name], options.seeds)
        write(name)
    write_across()


if __name__ == "__main__":
    main()
