"""The options of ``entroshape compare``, apart from what carries them out, so that ``--help`` waits for no torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from entroshape.arguments import parse_arguments
from entroshape.checks import check_integer
from entroshape.options import Effect, affecting
from entroshape.runs.reading import read_json
from entroshape.training.config import TrainConfig
from entroshape.training.load import config_from, load_config
from entroshape.training.options import METHOD_OPTIONS

FILE = "comparison.json"
"""What a comparison's directory holds it in."""

SET_BY_THE_COMPARISON: tuple[Effect, ...] = ("run", "presentation")
"""Options of training with these effects are the comparison's own: it names the runs, and where they are written."""


def _set_by_the_comparison(options: type) -> type:
    """Takes the options of training that are the comparison's own off the command line."""
    hints = get_type_hints(TrainConfig)
    own = affecting(TrainConfig, *SET_BY_THE_COMPARISON)
    for each in fields(TrainConfig):
        if each.name in own:
            options.__annotations__[each.name] = tyro.conf.Suppress[tyro.conf.Fixed[hints[each.name]]]  # type: ignore
            again: Any = copy(each)
            setattr(options, each.name, again)
    return options


@dataclass(frozen=True, kw_only=True)
@_set_by_the_comparison
class RunOptions(TrainConfig):
    """As in ``entroshape train``, for all runs. If --output holds a comparison, its options are the defaults."""

    config: str | None = None
    """A YAML file of these options, such as a recipe or a run's config.yaml; options given here override it."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Hold methods against each other: same weights, same prompts in the same order, same draws, several seeds.

    XX
    """

    methods: list[str] = field(default_factory=list)
    """Arms: METHOD[:OPTION=VALUE]..., separated by commas, such as dapo,gtpo,gtpo:alpha2=0.5:axis=row. Options are
    the method's, or of training (gtpo:dynamic_sampling=false). None: all those that --output already holds."""

    seeds: int = 5
    """So many seeds, counted from --first-seed."""

    first_seed: int = 0
    """Where seeds are counted from. What looked best on some seeds is to be confirmed on fresh ones."""

    sweep: list[str] = field(default_factory=list)
    """OPTION=VALUE,VALUE,... multiplies all arms that have the option, such as alpha2=0.1,0.2,0.5."""

    baseline: str | None = None
    """The arm that the others are held against. None: dapo if it is one, else the first."""

    parallel: int | None = None
    """Runs in parallel. None: for a bundled model, as many as there are CPU cores for their threads; else 1."""

    launcher: str | None = None
    """What starts each run, such as "accelerate launch --num_processes 8". None: this Python, one process a run."""

    output: str | None = None
    """Directory for comparison.json, comparison.html and the runs. None: comparisons/TASK."""

    keep_checkpoints: bool = False
    """Keep the checkpoints of finished runs; their final weights are kept anyway."""

    runs: tyro.conf.OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        for name in ("seeds", "parallel"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum=1)
        check_integer("first_seed", self.first_seed)


def parse_compare(arguments: Sequence[str]) -> tuple[CompareConfig, TrainConfig]:
    """The comparison's own options, and those of training that all of its runs share.

    Raises:
        ValueError: a file of options that does not work.
    """
    command = _parse(arguments, RunOptions())
    if command.runs.config is not None:
        command = _parse(arguments, RunOptions(**asdict(load_config(command.runs.config)), config=command.runs.config))
    elif there := _options_there(command.output):
        command = _parse(arguments, RunOptions(**asdict(there)))
    plain = TrainConfig()
    own = affecting(plain, *SET_BY_THE_COMPARISON)
    shared = {each.name: getattr(plain if each.name in own else command.runs, each.name) for each in fields(plain)}
    return command, TrainConfig(**shared)


def _options_there(output: str | None) -> TrainConfig | None:
    """The options of the comparison that ``output`` holds, if it holds one."""
    if output is None or not (Path(output) / FILE).exists():
        return None
    # What reads all of a damaged file refuses it, with the place, before anything is written.
    with suppress(ValueError, KeyError, TypeError):
        return config_from(read_json(Path(output) / FILE)["base"], "base")
    return None


def _parse(arguments: Sequence[str], runs: RunOptions) -> CompareConfig:
    default = CompareConfig(runs=runs)
    config: CompareConfig = parse_arguments(
        CompareConfig, "compare", arguments, default=default, registry=METHOD_OPTIONS
    )
    return config
