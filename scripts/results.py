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
from pathlib import Path
from statistics import fmean

from results_frontier import draw_plane, frontier_markdown
from results_pairs import across_table, pairs_table
from results_pictures import draw_curves, draw_forest, draw_learning
from results_settings import SETTINGS, Setting

from entroshape.experiments import Comparison, Difference, Spread, read_comparison, summarize
from entroshape.experiments.options import FILE
from entroshape.experiments.table import resolved
from entroshape.metrics.wording import wording

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("mean@32", "pass@16", "pass@32")
PLAIN = ("entropy", "length")


def file_of(name: str) -> Path:
    """The file with the figures of a setting."""
    return ROOT / "docs/results" / name / FILE


def compare(name: str, setting: Setting, seeds: int | None) -> None:
    """Trains the runs of a setting that have no figures yet."""
    command = [sys.executable, "-m", "entroshape", "compare", "--output", f"docs/results/{name}"]
    command += ["--seeds", str(seeds or setting.seeds), f"--first-seed={setting.first_seed}"]
    command += ["--methods", *setting.arms]
    command += [] if setting.primary is None else [f"--primary={setting.primary}"]
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
        run = [arm.name for arm in comparison.arms if any(r["arm"] == arm.name for r in records)]
        means = {name: fmean(r["responses"] for r in records if r["arm"] == name) for name in run}
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
    comparison = read_comparison(file_of(name))
    images = ROOT / "docs/images"
    draw_forest(comparison, SHOWN, images / f"{name}-differences.png")
    draw_curves(comparison, images / f"{name}-curves.png")
    if name == "countdown":
        draw_learning(comparison, "gtpo", images / "learning-curve.png")
    beyond = frontier_markdown(comparison)
    if beyond:
        draw_plane(comparison, images / f"{name}-plane.png")
    _put(name, "\n\n".join(filter(None, (table(comparison), beyond))))
    print(f"{name}: {len(comparison.records)} runs in docs/{SETTINGS[name].page}")


def write_across() -> None:
    """Writes the tables that combine several settings."""
    comparisons = {name: read_comparison(file_of(name)) for name in SETTINGS if file_of(name).is_file()}
    _put("across", across_table(comparisons))
    _put("pairs", pairs_table(comparisons))


def _put(name: str, text: str) -> None:
    page = ROOT / "docs" / (SETTINGS[name].page if name in SETTINGS else "results.md")
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
        if file_of(name).is_file():
            write(name)
        else:
            print(f"{name}: not run yet; python scripts/results.py {name}")
    write_across()


if __name__ == "__main__":
    main()
