"""Training: trains a policy on a task with a method, from one set of options, into a run directory."""

from entroshape.training.config import TrainConfig

__all__ = ["TrainConfig"]
