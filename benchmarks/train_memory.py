"""Resident memory of `entroshape train`, step by step: does it level off?

    python benchmarks/train_memory.py --steps 2000 --output train-memory          # a small model's steps, 10 minutes
    python benchmarks/train_memory.py --steps 2000 --output train-memory --show   # figures of what is there
    python benchmarks/train_memory.py --steps 2000 --output train-memory --show --write   # also into the page

The run is a plain `entroshape train` in a separate process. After every step, its resident memory is read from /proc
(Linux only) and appended to `memory.csv` in the output directory. You can stop it at any time; the same command resumes
the run. The process that resumes it starts with a fresh heap, so every row names its process.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

from side_by_side import table, write

SMALL = ["--prompts-per-step=2", "--num-generations=4", "--eval-problems=2", "--eval-samples=2", "--device=cpu"]
SECONDS_BETWEEN_LOOKS = 0.05


def resident(pid: int) -> dict[str, float]:
    """Resident megabytes of a process: all, and what belongs to no file."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) / 1024 for name, key in (("rss", "VmRSS"), ("anonymous", "RssAnon"))}


def run(output: Path, steps: int, options: list[str]) -> int:
    """Trains, and writes a row after every step."""
    directory, table = output / "run", output / "memory.csv"
    output.mkdir(parents=True, exist_ok=True)
    begun = (directory / "config.yaml").is_file()
    given = [f"--resume={directory}"] if begun else [f"--steps={steps}", f"--output={directory}", *options]
    with (output / "log").open("a") as log, table.open("a", newline="") as file:
        rows = csv.writer(file)
        if not file.tell():
            rows.writerow(["process", "step", "rss", "anonymous"])
        child = subprocess.Popen([sys.executable, "-m", "entroshape", "train", *given], stdout=log, stderr=log)
        metrics, last = directory / "metrics.jsonl", None
        while child.poll() is None:
            step = metrics.read_bytes().count(b"\n") if metrics.is_file() else 0
            if step != last and step:
                try:
                    now = resident(child.pid)
                except (FileNotFoundError, KeyError):  # it has ended since
                    break
                rows.writerow([child.pid, step, *(f"{value:.2f}" for value in now.values())])
                file.flush()
                last = step
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return child.wait()


def windows(output: Path, parts: int = 8) -> list[tuple[int, int, float, float]]:
    """Of the last process's rows: first and last step, median resident megabytes, and growth in MB per step."""
    with (output / "memory.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = [row for row in rows if row["process"] == rows[-1]["process"]]
    size = max(2, len(own) // parts)
    figures = []
    for start in range(0, len(own) - size + 1, size):
        part = own[start : start + size]
        steps, values = [int(row["step"]) for row in part], [float(row["rss"]) for row in part]
        middle_step, middle = sum(steps) / len(steps), sum(values) / len(values)
        spread = sum((step - middle_step) ** 2 for step in steps)
        products = ((step - middle_step) * (value - middle) for step, value in zip(steps, values, strict=True))
        slope = sum(products) / spread
        figures.append((steps[0], steps[-1], sorted(values)[len(values) // 2], slope))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--show", action="store_true", help="show the figures and train nothing")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    arguments, options = parser.parse_known_args()
    status = 0 if arguments.show else run(arguments.output, arguments.steps, options or SMALL)
    figures = windows(arguments.output)
    rows = [[f"{a} to {b}", f"{middle:.0f} MB", f"{1000 * slope:+.0f} kB per step"] for a, b, middle, slope in figures]
    lines = table(["steps", "resident memory, median", "growth"], rows)
    if arguments.write:
        write("train memory", lines, {"windows": figures})
    else:
        print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
