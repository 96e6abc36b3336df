"""The options of ``entroshape compare``, separate from its code, so that ``--help`` does not wait for torch."""

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
from entroshape.training.options import defaults_of_the_model

FILE = "comparison.json"
"""Name of the file in the directory of a comparison."""

SET_BY_THE_COMPARISON: tuple[Effect, ...] = ("run", "presentation")
"""Options of training with these effects are set by the comparison: which run it is, and where it is written."""


def _set_by_the_comparison(options: type) -> type:
    """Removes the options of training that the comparison sets from the command line."""
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
    """As in ``entroshape train``, for all runs. If --output has a comparison, its options are the defaults."""

    config: str | None = None
    """YAML file with these options, such as a recipe or the config.yaml of a run. Options on the command line override
    it."""

    def __post_init__(self) -> None:
        given = self.model
        super().__post_init__()
        # The task may still change, because the command line overrides these values.
        object.__setattr__(self, "model", given)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Compare methods over several seeds.

    For each seed, all methods start from the same weights and see the same prompts and random draws. The same command
    resumes a comparison that was stopped. With more seeds or methods, it adds them.
    """

    methods: list[str] = field(default_factory=list)
    """Arms: METHOD[:OPTION=VALUE]..., separated by commas, such as dapo,gtpo,gtpo:alpha2=0.5:axis=row. Options belong
    to the method or to training (gtpo:dynamic_sampling=false). Your own method: my_module:MyMethod:alpha=0.2. Empty:
    all arms that --output already has."""

    seeds: int = 5
    """Number of seeds, counted from --first-seed."""

    first_seed: int = 0
    """The first seed. Use fresh seeds to confirm what looked best on earlier ones."""

    sweep: list[str] = field(default_factory=list)
    """OPTION=VALUE,VALUE,... makes one arm per value of every arm that has the option, such as alpha2=0.1,0.2,0.5."""

    baseline: str | None = None
    """The arm that the others are compared with. None: dapo if it is among the arms, otherwise the first."""

    primary: str | None = None
    """The one metric that the comparison is about, such as above-hull@32 (Pass@32 above the hull, needs
    --eval-temperatures) or mean@32. It is declared together with the arms, the seeds and the baseline by the command
    that begins the comparison, and cannot be changed once a run has finished. Whatever is asked for later is marked as
    exploratory."""

    parallel: int | None = None
    """Number of runs to train in parallel. None: for a bundled model, as many as the CPU cores allow; otherwise 1."""

    launcher: str | None = None
    """Command that starts each run, such as "accelerate launch --num_processes 8". None: this Python, with one process
    per run."""

    output: str | None = None
    """Directory for comparison.json, comparison.html and the runs. None: comparisons/TASK."""

    keep_checkpoints: bool = False
    """Keep the checkpoints of finished runs. Their final weights are kept in any case."""

    runs: tyro.conf.OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        for name in ("seeds", "parallel"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum=1)
        check_integer("first_seed", self.first_seed)


def parse_compare(arguments: Sequence[str]) -> tuple[CompareConfig, TrainConfig]:
    """Parses the options of the comparison, and the options of training that all of its runs share.

    Raises:
        ValueError: a file of options is invalid.
    """
    command = _parse(arguments, RunOptions())
    if command.runs.config is not None:
        command = _parse(arguments, RunOptions(**asdict(load_config(command.runs.config)), config=command.runs.config))
    elif there := _options_there(command.output):
        command = _parse(arguments, RunOptions(**asdict(there)))
    elif defaults := defaults_of_the_model(_shared(command)):
        command = _parse(arguments, RunOptions(**defaults))
    return command, _shared(command)


def _shared(command: CompareConfig) -> TrainConfig:
    """The options of training on which all runs agree."""
    plain = TrainConfig()
    own = affecting(plain, *SET_BY_THE_COMPARISON)
    shared = {each.name: getattr(plain if each.name in own else command.runs, each.name) for each in fields(plain)}
    return TrainConfig(**shared)


def _options_there(output: str | None) -> TrainConfig | None:
    """The options of training of the comparison in ``output``, if there is one."""
    if output is None or not (Path(output) / FILE).exists():
        return None
    # A damaged file is refused later, with the place of the error, before anything is written.
    with suppress(ValueError, KeyError, TypeError):
        return config_from(read_json(Path(output) / FILE)["base"], "base")
    return None


def _parse(arguments: Sequence[str], runs: RunOptions) -> CompareConfig:
    default = CompareConfig(runs=runs)
    config: CompareConfig = parse_arguments(CompareConfig, "compare", arguments, default=default)
    return config
