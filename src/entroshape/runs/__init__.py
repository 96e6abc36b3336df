"""The run directory: what a training run leaves on disk, and reading it back."""

from entroshape.runs.directory import RunDirectory
from entroshape.runs.tables import EVALUATION_SCHEMA, ROLLOUT_SCHEMA

__all__ = ["EVALUATION_SCHEMA", "ROLLOUT_SCHEMA", "RunDirectory"]
