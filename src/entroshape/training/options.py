"""The options of ``entroshape train`` on a command line: TrainConfig's, from a file first if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import tyro

from entroshape.arguments import parse_arguments
from entroshape.assets import BUNDLED_MODELS
from entroshape.training.config import TrainConfig
from entroshape.training.load import load_config, load_run_config
from entroshape.training.values import parse_value


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainConfig):
    """Train a language model on a task with fine-grained credit, and see what it learned.

    Without any option: the bundled tiny model learns Countdown with GTPO, in minutes on a laptop. A run directory
    keeps everything: config.yaml, metrics.jsonl, rollouts with their credit, checkpoints, report.html.
    """

    config: str | None = None
    """A YAML file of these options, such as a recipe or another run's config.yaml; options given here override it."""

    resume: str | None = None
    """A run directory to go on with from its last checkpoint; it has its options, so no others are taken."""

    def __post_init__(self) -> None:
        given = self.model
        super().__post_init__()
        # The task may still change: the command line is read over these values.
        object.__setattr__(self, "model", given)


def parse_train(arguments: list[str]) -> tuple[TrainConfig, str | None]:
    """The options of a run, and the run directory to resume, if any.

    Raises:
        ValueError: a file or an option that does not work; options beside ``--resume``.
    """
    command = _parse(arguments, TrainCommand())
    if command.resume is not None:
        return _resumed(command), command.resume
    if command.config is not None:
        from_file = asdict(load_config(command.config))
        command = _parse(arguments, TrainCommand(**from_file, config=command.config))
    elif defaults := _defaults_of_the_model(command):
        command = _parse(arguments, TrainCommand(**defaults))
    return _config(command), None


def _config(command: TrainCommand) -> TrainConfig:
    return TrainConfig(**{option.name: getattr(command, option.name) for option in fields(TrainConfig)})


def _defaults_of_the_model(command: TrainCommand) -> Mapping[str, Any]:
    model = BUNDLED_MODELS.get(_config(command).model)
    return model.options if model else {}


def _parse(arguments: list[str], default: TrainCommand) -> TrainCommand:
    command: TrainCommand = parse_arguments(TrainCommand, "train", arguments, default=default, registry=METHOD_OPTIONS)
    return command


def _resumed(command: TrainCommand) -> TrainConfig:
    assert command.resume is not None  # the caller has looked
    default = TrainCommand()
    others = [
        option.name
        for option in fields(TrainCommand)
        if option.name != "resume" and getattr(command, option.name) != getattr(default, option.name)
    ]
    if others:
        names = ", ".join("--" + name.replace("_", "-") for name in others)
        raise ValueError(f"--resume goes on with the run's own options; {names} would have no effect")
    if not (Path(command.resume) / "config.yaml").is_file():
        raise ValueError(f"--resume must name a run directory; {command.resume} has no config.yaml")
    return load_run_config(Path(command.resume) / "config.yaml")


def _parse_options(arguments: list[str]) -> dict[str, Any]:
    """``alpha2=0.2 axis=row`` as a mapping; values are read as YAML, so numbers, true/false and {maps} work."""
    options = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not (name and equals):
            raise ValueError(f"expected NAME=VALUE, got {argument!r}")
        options[name] = parse_value(value)
    return options


METHOD_OPTIONS = tyro.constructors.ConstructorRegistry()


@METHOD_OPTIONS.primitive_rule
def _options_rule(type_info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    if type_info.type != dict[str, Any]:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[NAME=VALUE ...]",
        instance_from_str=_parse_options,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda options: [f"{name}={value}" for name, value in options.items()],
    )
