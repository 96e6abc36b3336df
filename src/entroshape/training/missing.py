"""What a run that is trained still lacks. Needs no torch."""

from __future__ import annotations

from entroshape.runs import RunDirectory
from entroshape.runs.points import has_point
from entroshape.training.config import TrainConfig


def missing_points(run: RunDirectory, config: TrainConfig) -> list[tuple[str, int, float]]:
    """The points before and after training that the run does not have, as weights, step and temperature."""
    return [point for point in config.final_points if not has_point(run.points_path, *point)]
