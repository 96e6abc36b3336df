"""The run directory: writes and reads the files of a training run."""

from entroshape.runs.directory import RunDirectory
from entroshape.runs.tables import EVALUATION_SCHEMA, ROLLOUT_SCHEMA

__all__ = ["EVALUATION_SCHEMA", "ROLLOUT_SCHEMA", "RunDirectory"]
