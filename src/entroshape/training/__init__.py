"""The main job: train a policy on a task with a method, from one set of options, into one run directory."""

from entroshape.training.config import TrainConfig

__all__ = ["TrainConfig"]
