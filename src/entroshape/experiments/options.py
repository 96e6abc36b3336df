"""The options of ``entroshape compare``, apart from what carries them out, so that ``--help`` waits for no torch."""

from __future__ import annotations

from dataclasses import dataclass

from entroshape.arguments import parse_arguments
from entroshape.checks import check_integer
from entroshape.options import Effect, affecting
from entroshape.training.config import TrainConfig

SET_BY_THE_COMPARISON: tuple[Effect, ...] = ("run", "presentation")
"""Options of training with these effects are the comparison's own: it names the runs, and where they are written."""


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Hold methods against each other: same weights, same prompts in the same order, same draws, several seeds.

    Every option of ``entroshape train`` may follow and holds for all runs (``--steps 50``, ``--config recipe.yaml``);
    the method, its options and the seed are the comparison's own. A second call of the same command goes on where the
    first was stopped; with more seeds or methods it adds them.
    """

    methods: list[str]
    """Arms: METHOD[:OPTION=VALUE]..., separated by commas, such as dapo,gtpo,gtpo:alpha2=0.5:axis=row. Options are
    the method's, or of training (gtpo:dynamic_sampling=false). None: all those that --output already holds."""

    seeds: int = 5
    """So many seeds, counted from --first-seed."""

    first_seed: int = 0
    """Where seeds are counted from. What looked best on some seeds is to be confirmed on fresh ones."""

    sweep: list[str]
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

    def __post_init__(self) -> None:
        for name in ("seeds", "parallel"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum=1)
        check_integer("first_seed", self.first_seed)


def parse_compare(arguments: list[str]) -> tuple[CompareConfig, list[str]]:
    """The comparison's own options, and what is left: those of ``entroshape train``.

    Raises:
        ValueError: an option of training that the comparison sets itself.
    """
    config, rest = parse_arguments(
        CompareConfig, "compare", arguments, default=CompareConfig(methods=[], sweep=[]), return_unknown_args=True
    )
    for name in (*(name for name in affecting(TrainConfig, *SET_BY_THE_COMPARISON) if name != "output"), "resume"):
        flags = (f"--{name}", f"--{name.replace('_', '-')}")
        if any(argument.split("=")[0] in flags for argument in rest):
            raise ValueError(f"{flags[-1]} is not for compare: name arms with --methods, and how many --seeds")
    return config, rest
