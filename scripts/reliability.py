"""Writes the tables of docs/reliability.md from what `make torture` recorded.

    make torture                       # attacks the package, then calls this script
    python scripts/reliability.py      # from the figures in docs/reliability/ that are there

Each test under tests/torture leaves one JSON file of counts in docs/reliability/. The tables stand in the page between
its markers, one per kind of attack.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
FIGURES = ROOT / "docs" / "reliability"

TABLES = {
    "kills": "kills_",
    "tensors": "tensors_",
    "answers": "hostile_answers_",
    "text": "hostile_",
    "inputs": "wrong_inputs_",
    "machine": "machine_",
}
"""For each marker in the page, the prefix of the names of its figures."""

FIRST = ("tried", "equal", "refused_rightly", "harmful")
"""Columns that come first, in this order."""


def figures(prefix: str) -> dict[str, dict[str, Any]]:
    """The recorded counts with this prefix and no longer one of :data:`TABLES`, by the rest of their names."""
    longer = tuple(other for other in TABLES.values() if other != prefix and other.startswith(prefix))
    paths = [path for path in sorted(FIGURES.glob(f"{prefix}*.json")) if not path.stem.startswith(longer)]
    return {path.stem.removeprefix(prefix): json.loads(path.read_text()) for path in paths}


def table(recorded: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A Markdown table with a row per record, and a row of sums if all records count what was tried."""
    found = dict.fromkeys(name for counts in recorded.values() for name in counts)
    columns = sorted(found, key=lambda name: (name not in FIRST, FIRST.index(name) if name in FIRST else 0))
    heads = ["", *(name.replace("_", " ") for name in columns)]
    rows = [
        [label.replace("_", " "), *(_cell(counts.get(name)) for name in columns)] for label, counts in recorded.items()
    ]
    tried = [counts.get("tried") for counts in recorded.values()]
    if len(rows) > 1 and all(isinstance(count, int) for count in tried):
        sums = {name: [counts.get(name) for counts in recorded.values()] for name in columns}
        rows.append(["**all**", *(_cell(_total(values)) for values in sums.values())])
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _total(values: list[Any]) -> int | None:
    counts = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return sum(counts) if len(counts) == len(values) else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Puts every table between its markers."""
    page = PAGE.read_text()
    for marker, prefix in TABLES.items():
        begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
        head, tail = page[: page.index(begin) + len(begin)], page[page.index(end) :]
        page = "\n".join([head, *table(figures(prefix)), "", tail.lstrip()]) if figures(prefix) else head + "\n" + tail
    PAGE.write_text(page)
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{PAGE.relative_to(ROOT)}: tables of {len(list(FIGURES.glob('*.json')))} records, {machine}")


if __name__ == "__main__":
    main()
