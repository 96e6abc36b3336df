"""The options of ``entroshape inspect`` and ``entroshape report``, apart from what carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from entroshape.arguments import parse_arguments
from entroshape.checks import check_integer

Quantity = Literal["entropy", "weight", "shaped_reward", "advantage"]
RunArgument = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Show the completions of a group as tokens, coloured by entropy, weight, shaped reward or advantage.

    This is the credit viewer of report.html for the terminal. Without colour (NO_COLOR, or output to a file), every
    token is followed by its value.
    """

    run: RunArgument
    """Run directory."""

    step: int | None = None
    """A step with kept rollouts. None: the last one."""

    group: int = 1
    """Number of the prompt within the step, counted from 1."""

    show: Quantity = "advantage"
    """Quantity that the colours show."""

    responses: int = 32
    """Maximum number of completions to show."""

    tokens: int = 400
    """Maximum number of tokens to show per completion."""

    by_kind: bool = False
    """Show the entropy and credit of the whole step per kind of token instead, if the task names kinds."""

    list: bool = False
    """List the kept steps and the groups of the step instead."""

    def __post_init__(self) -> None:
        for name in ("group", "responses", "tokens"):
            check_integer(name, getattr(self, name), minimum=1)


def parse_inspect(arguments: Sequence[str]) -> InspectConfig:
    """The options of ``entroshape inspect`` from a command line."""
    config: InspectConfig = parse_arguments(InspectConfig, "inspect", arguments)
    return config


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write the report.html of a run again, from the files in its run directory.

    entroshape report runs/countdown-gtpo-0-1
    """

    run: RunArgument
    """Run directory."""


def parse_report(arguments: Sequence[str]) -> ReportConfig:
    """The options of ``entroshape report`` from a command line."""
    config: ReportConfig = parse_arguments(ReportConfig, "report", arguments)
    return config
