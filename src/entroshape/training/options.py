"""The options of ``entroshape train`` on a command line: those of TrainConfig, with defaults from a file if given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from entroshape.arguments import parse_arguments
from entroshape.assets import BUNDLED_MODELS
from entroshape.training.config import TrainConfig
from entroshape.training.load import load_config, load_run_config


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainConfig):
    """Train a language model on a task with token- or sequence-level credit assignment, and report what it learned.

    Without options, the bundled tiny model learns Countdown with GTPO, in minutes on a laptop. The run directory holds
    config.yaml, metrics.jsonl, the rollouts with their credit, checkpoints, the model and report.html.
    """

    config: str | None = None
    """YAML file with options, such as a recipe or the config.yaml of another run. Options on the command line override
    it."""

    resume: str | None = None
    """Run directory to resume from its last checkpoint. The run keeps its own options, so no others are accepted."""

    def __post_init__(self) -> None:
        given = self.model
        super().__post_init__()
        # The task may still change, because the command line overrides these values.
        object.__setattr__(self, "model", given)


def parse_train(arguments: list[str]) -> tuple[TrainConfig, str | None]:
    """Parses the options of a run, and the run directory to resume, if any.

    Raises:
        ValueError: a file or an option is invalid, or there are other options together with ``--resume``.
    """
    command = _parse(arguments, TrainCommand())
    if command.resume is not None:
        return _resumed(command), command.resume
    if command.config is not None:
        from_file = asdict(load_config(command.config))
        command = _parse(arguments, TrainCommand(**from_file, config=command.config))
    elif defaults := defaults_of_the_model(_config(command)):
        command = _parse(arguments, TrainCommand(**defaults))
    return _config(command), None


def _config(command: TrainCommand) -> TrainConfig:
    return TrainConfig(**{option.name: getattr(command, option.name) for option in fields(TrainConfig)})


def defaults_of_the_model(config: TrainConfig) -> Mapping[str, Any]:
    """Options whose defaults on a command line are others for the bundled model that ``config`` names."""
    model = BUNDLED_MODELS.get(config.model)
    return model.options if model else {}


def _parse(arguments: list[str], default: TrainCommand) -> TrainCommand:
    command: TrainCommand = parse_arguments(TrainCommand, "train", arguments, default=default)
    return command


def _resumed(command: TrainCommand) -> TrainConfig:
    assert command.resume is not None  # checked by the caller
    default = TrainCommand()
    others = [
        option.name
        for option in fields(TrainCommand)
        if option.name != "resume" and getattr(command, option.name) != getattr(default, option.name)
    ]
    if others:
        names = ", ".join("--" + name.replace("_", "-") for name in others)
        raise ValueError(f"--resume uses the run's own options; {names} would have no effect")
    if not (Path(command.resume) / "config.yaml").is_file():
        raise ValueError(f"--resume must name a run directory; {command.resume} has no config.yaml")
    return load_run_config(Path(command.resume) / "config.yaml")
