"""Reruns what docs/results.md and the README's picture show: the embedded default over several seeds.

    python scripts/results.py --seeds 0 1 2

Each seed is one plain ``entroshape train --seed N``; runs that are already there are kept, so a rerun with more seeds
adds to them. The raw figures go to docs/results/, the table into docs/results.md, the curve to docs/images/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt

from entroshape.runs import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("mean@16", "pass@1", "pass@4", "pass@16", "length", "share_cut", "entropy")
BEGIN, END = "<!-- embedded default: begin -->", "<!-- embedded default: end -->"


def train(seed: int, steps: int, runs: Path) -> dict:
    """One run, unless it is there already; its figures before and after, and its curve."""
    path = runs / f"seed-{seed}"
    if not (path / "report.html").is_file():
        fresh = ["--device", "cpu", "--steps", str(steps), "--seed", str(seed), "--output", str(path)]
        options = ["--resume", str(path)] if (path / "config.yaml").is_file() else fresh
        command = [sys.executable, "-m", "entroshape", "train", *options]
        log = runs / f"seed-{seed}.log"
        with log.open("w") as out:
            done = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        if done.returncode:
            raise SystemExit(f"seed {seed} failed; see {log}")
    run = RunDirectory.open(path)
    curve = [{k: row[k] for k in ("step", "success_rate", "entropy") if k in row} for row in run.read_metrics()]
    seconds = sum(v for row in run.read_metrics() for k, v in row.items() if k.startswith("seconds_"))
    evaluations = {name: run.read_evaluation(step)[1] for name, step in (("before", 0), ("after", steps))}
    return {"seed": seed, "steps": steps, "training_seconds": round(seconds, 1), **evaluations, "curve": curve}


def table(results: list[dict]) -> str:
    """Before, after and their difference, mean and standard deviation over seeds."""
    lines = [
        "| | before | after, mean over seeds (sd) | after, by seed | gain, smallest of the seeds |",
        "|---|---|---|---|---|",
    ]
    for name in METRICS:
        before = [r["before"][name] for r in results]
        after = [r["after"][name] for r in results]
        spread = statistics.stdev(after) if len(after) > 1 else float("nan")
        gains = [a - b for a, b in zip(after, before, strict=True)]
        each = ", ".join(f"{value:.3f}" for value in after)
        mean = f"{statistics.mean(after):.3f} ({spread:.3f})"
        lines.append(f"| {name} | {statistics.mean(before):.3f} | {mean} | {each} | {min(gains):+.3f} |")
    seconds = ", ".join(f"{r['training_seconds']:.0f}" for r in results)
    steps = results[0]["steps"]
    lines += [
        "",
        f"{len(results)} seeds ({', '.join(str(r['seed']) for r in results)}), {steps} steps each; seconds of "
        f"training by seed, two runs side by side with one thread each: {seconds}. Python {platform.python_version()}.",
    ]
    return "\n".join(lines)


def draw(results: list[dict], path: Path) -> None:
    """Success rate and entropy over the steps, one line a seed."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axis, name, label in zip(
        axes, ("success_rate", "entropy"), ("success rate of sampled responses", "policy entropy, nats"), strict=True
    ):
        for result, colour in zip(results, ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"), strict=False):
            steps = [row["step"] for row in result["curve"]]
            values = [row[name] for row in result["curve"]]
            smooth = [statistics.mean(values[max(0, i - 9) : i + 1]) for i in range(len(values))]
            axis.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axis.plot(steps, smooth, color=colour, label=f"seed {result['seed']}")
        axis.set(xlabel="step", title=label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "results", help="where the run directories are kept"
    )
    parser.add_argument("--parallel", type=int, default=2, help="runs side by side")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.parallel) as pool:
        results = list(pool.map(lambda seed: train(seed, options.steps, options.runs), options.seeds))
    (ROOT / "docs/results").mkdir(exist_ok=True)
    (ROOT / "docs/results/embedded-default.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, ROOT / "docs/images/learning-curve.png")
    page = ROOT / "docs/results.md"
    text = page.read_text()
    head, tail = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    page.write_text(f"{head}\n{table(results)}\n{tail}")
    print(table(results))


if __name__ == "__main__":
    main()
