"""Figures of the torture tests: how much was tried, and what came of it.

`make torture` sets ``ENTROSHAPE_TORTURE=full`` (the amounts that docs/reliability.md states) and ``ENTROSHAPE_FIGURES``
(where the figures go). Without them the same tests run a small part, which is in `make test`.
"""

import json
import os
from pathlib import Path

FULL = os.environ.get("ENTROSHAPE_TORTURE") == "full"


def amount(small, full):
    """How many cases to try: a few in `make test`, all of them in `make torture`."""
    return full if FULL else small


def record(name, **figures):
    """Write what a test tried and found to ``$ENTROSHAPE_FIGURES/<name>.json``; without that variable, nothing."""
    folder = os.environ.get("ENTROSHAPE_FIGURES")
    if folder:
        path = Path(folder) / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
