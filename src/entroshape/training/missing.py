"""What a run that is trained still lacks. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

from entroshape.runs import RunDirectory
from entroshape.runs.points import has_point
from entroshape.training.config import TrainConfig


class Missing(NamedTuple):
    """A point that a run does not have."""

    fresh: int
    """Number of fresh problems; 0 for the held-out ones."""

    weights: str
    step: int
    temperature: float


def wanted_points(config: TrainConfig) -> list[Missing]:
    """The points before and after training, on the held-out problems and on the fresh ones if there are any."""
    sets = [0, config.fresh] if config.fresh else [0]
    return [Missing(fresh, *point) for fresh in sets for point in config.final_points]


def missing_points(run: RunDirectory, config: TrainConfig) -> list[Missing]:
    """Those of :func:`wanted_points` that the run does not have."""
    return [each for each in wanted_points(config) if not has_point(run.path, *each[1:], each.fresh)]
