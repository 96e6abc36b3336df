"""Measures how the time of a step is spent: sampling, scoring, shaping, updating."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("sampling", "scoring", "shaping", "updating")


class PhaseClock:
    """Adds up the seconds of each phase since it was last read."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Counts the time inside as ``phase``, except for time that is counted as another phase."""
        started, others = time.perf_counter(), self.total
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - started - (self.total - others)

    def read(self) -> dict[str, float]:
        """Returns the seconds of every phase and resets them."""
        read = {phase: self.seconds[phase] for phase in PHASES}
        self.seconds.clear()
        return read
