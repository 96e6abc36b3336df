"""Helpers of all benchmarks: time variants in turn, compute ratios with their spread, write figures and tables.

Ratios are taken within each turn, between variants that ran one after the other on the same machine. The tables show
their median, smallest and largest value over the turns. Seconds alone say little about another machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

FIGURES = Path(__file__).with_name("results.json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

T = TypeVar("T")
Seconds = dict[str, list[float]]


def in_turn(variants: Mapping[str, Callable[[], Any]], repeats: int, what: str = "") -> Seconds:
    """Seconds of each variant, turn by turn. The first turn is a warm-up and is not counted."""
    seconds: Seconds = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            elapsed = time.perf_counter() - start
            if turn:
                seconds[name].append(elapsed)
        print(f"  {what} turn {turn} of {repeats}", file=sys.stderr, flush=True)
    return seconds


def ratio(own: Sequence[float], peer: Sequence[float]) -> str:
    """Median, smallest and largest ratio over the turns."""
    ratios = [a / b for a, b in zip(own, peer, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def seconds(values: Sequence[float]) -> str:
    """The median, in a readable unit."""
    middle = statistics.median(values)
    return f"{middle:.2f} s" if middle >= 1 else f"{1e3 * middle:.3g} ms"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def in_child(script: str, **request: Any) -> Any:
    """Runs ``script --worker REQUEST`` in a fresh process and returns the JSON on the last line of its output."""
    command = [sys.executable, script, "--worker", json.dumps(request)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def worker_request() -> dict[str, Any] | None:
    """The request, if :func:`in_child` started this process; otherwise ``None``."""
    if len(sys.argv) == 3 and sys.argv[1] == "--worker":
        return json.loads(sys.argv[2])
    return None


def peak_above(run: Callable[[], T], device: str = "cpu") -> tuple[T, int]:
    """Runs ``run``; returns its result and its peak memory above what was allocated before, in bytes.

    On a GPU, the peak comes from the allocator. On Linux, it comes from the kernel's record, which is reset first.
    Elsewhere only the peak of the whole process is known, so the result counts only what exceeds any earlier peak.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before, after = torch.cuda.memory_allocated, torch.cuda.max_memory_allocated
    elif sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed but kept would hide the first part of the peak
        Path("/proc/self/clear_refs").write_text("5")
        before = after = _resident_peak
    else:
        before = after = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = before()
    result = run()
    return result, after() - start


def _resident_peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def machine() -> str:
    """The machine that the figures were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{_processor()}, {os.cpu_count()} cores, {gpu}; python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def write(section: str, lines: Sequence[str], figures: Any) -> None:
    """Prints a section's table and writes it into docs/performance.md, and its figures into results.json."""
    text = "\n".join(lines)
    print(f"\n{section}\n{text}\n", flush=True)
    known = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    known[section] = {"machine": machine(), "figures": figures}
    FIGURES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    page = PAGE.read_text()
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    head, tail = page[: page.index(begin) + len(begin)], page[page.index(end) :]
    PAGE.write_text(f"{head}\n{text}\n\n{machine()}.\n{tail}")
