"""``entroshape inspect RUN``: shows the credit of every token in the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from entroshape.metrics.wording import credit_number
from entroshape.printable import printable
from entroshape.report.credit import QUANTITIES, groups_of
from entroshape.report.kinds import Response, credit_by_kind, kinds_table
from entroshape.report.options import InspectConfig
from entroshape.runs import RunDirectory

# Five colours of Cividis (Nuñez et al., 2018), and Okabe and Ito's blue and vermillion: safe for colour-blind readers.
AMOUNT = ((0, 34, 78), (67, 78, 108), (125, 124, 120), (188, 175, 111), (254, 232, 56))
BELOW = ((250, 222, 205), (213, 94, 0))
ABOVE = ((206, 226, 240), (0, 114, 178))


def inspect(config: InspectConfig, console: Console) -> None:
    """Prints the completions of a group with their credit, or the list of steps and groups.

    Raises:
        ValueError: the directory is not a run, it has no rollouts, the step or group does not exist, or the method does
            not have the quantity.
    """
    run = RunDirectory.open(config.run)
    steps = run.rollout_steps()
    if not steps:
        raise ValueError(
            f"{run.path} has no rollouts: train with --rollouts-every 10 to keep those of every tenth step"
        )
    step = steps[-1] if config.step is None else config.step
    groups = groups_of(run.read_rollouts(step))
    if config.list:
        console.print(_contents(groups, step, steps))
        return
    if config.by_kind:
        kinds = credit_by_kind([row for group in groups for row in group])
        if not kinds:
            raise ValueError(f"by_kind: the task of {run.path} names no kinds of tokens")
        console.print(kinds_table(kinds, f"step {step}; kept steps: {', '.join(map(str, steps))}"))
        return
    if config.group > len(groups):
        raise ValueError(f"group must be one of the {len(groups)} of step {step}; got {config.group}")
    rows = groups[config.group - 1]
    values = [value for row in rows for value in row.get(config.show, [])]
    if not values:
        raise ValueError(f"show: the rollouts in {run.path} have no {config.show}; choose another quantity")
    scale = Scale(config.show, values)
    console.print(Text(f"step {step}, prompt {config.group} of {len(groups)}", style="bold"))
    console.print(Text(visible(rows[0]["prompt"])), soft_wrap=True)
    console.print(scale.legend(coloured=_coloured(console)))
    for number, row in enumerate(rows[: config.responses], start=1):
        console.print(_response(number, row, config, scale, coloured=_coloured(console)))
    _say_more(config, rows, step, steps, len(groups), console)


class Scale:
    """Colours of a quantity within a group: the hue shows the sign, the depth the size among values of that sign."""

    def __init__(self, quantity: str, values: Sequence[float]) -> None:
        self._quantity = quantity
        self._above = sorted(value for value in values if value > 0)
        self._below = sorted(-value for value in values if value < 0)

    def colour(self, value: float) -> tuple[int, int, int] | None:
        """Red, green and blue; ``None`` for 0."""
        if self._quantity in ("entropy", "weight"):
            return _between(AMOUNT, value / (self._above[-1] if self._above else 1.0))
        if value == 0:
            return None
        ends, own = (ABOVE, self._above) if value > 0 else (BELOW, self._below)
        width = own[-1] - own[0]
        return _between(ends, (abs(value) - own[0]) / width if width else 0.6)

    def style(self, value: float) -> Style:
        """The value's colour as background, with a readable text colour."""
        colour = self.colour(value)
        if colour is None:
            return Style.null()
        bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
        return Style(color="black" if bright else "white", bgcolor=Color.from_rgb(*colour))

    def legend(self, *, coloured: bool) -> Text:
        """The range of the quantity, each end in its colour."""
        ends = [-value for value in (self._below[-1:] + self._below[:1])] + self._above[:1] + self._above[-1:]
        if self._quantity in ("entropy", "weight"):
            ends = [0.0, *self._above[-1:]]
        text = Text(f"{self._quantity.replace('_', ' ')}: ")
        for place, end in enumerate(dict.fromkeys(ends)):
            text.append(" … " if place else "")
            text.append(f" {credit_number(end)} ", style=self.style(end) if coloured else "")
        return text


def _between(colours: Sequence[tuple[int, int, int]], place: float) -> tuple[int, int, int]:
    scaled = max(0.0, min(1.0, place)) * (len(colours) - 1)
    first = min(int(scaled), len(colours) - 2)
    share = scaled - first
    red, green, blue = (
        round((1 - share) * a + share * b) for a, b in zip(colours[first], colours[first + 1], strict=True)
    )
    return red, green, blue


def _response(number: int, row: Response, config: InspectConfig, scale: Scale, *, coloured: bool) -> Text:
    kind, style = ("success", "blue") if row["success"] else ("failure", "red")
    text = Text.assemble((f"{number:3d} {kind}", style), f" reward {credit_number(row['reward'])}")
    gated = " gated: all completions of the group have this outcome, no credit"
    text.append(gated if row["gated"] else "", style="dim")
    text.append("\n    ")
    shown = list(zip(row["tokens"], row.get(config.show, []), strict=False))[: config.tokens]
    for token, value in shown:
        if coloured:
            text.append(visible(token), style=scale.style(value)).append(" ")
        else:
            text.append(f"{visible(token)}({credit_number(value)}) ")
    left = len(row["tokens"]) - len(shown)
    text.append(f"and {left} more tokens" if left > 0 else "", style="dim")
    return text


def _contents(groups: Sequence[Sequence[Any]], step: int, steps: Sequence[int]) -> Table:
    title = f"step {step}; kept steps: {', '.join(map(str, steps))}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("group", "successes", "gated", "prompt"):
        table.add_column(column, justify="left" if column == "prompt" else "right", no_wrap=column != "prompt")
    for number, rows in enumerate(groups, start=1):
        successes, gated = sum(row["success"] for row in rows), sum(row["gated"] for row in rows)
        prompt = " ".join(rows[0]["prompt"].split())
        short = prompt if len(prompt) <= 100 else f"{prompt[:48]} … {prompt[-48:]}"
        table.add_row(str(number), f"{successes} of {len(rows)}", str(gated), Text(visible(short)))
    return table


def _say_more(
    config: InspectConfig, rows: Sequence[Any], step: int, steps: Sequence[int], groups: int, console: Console
) -> None:
    if len(rows) > config.responses:
        left = len(rows) - config.responses
        console.print(Text(f"and {left} more completions: --responses {len(rows)}", style="dim"))
    following = config.group % groups + 1
    others = [each for each in QUANTITIES if each != config.show and rows[0].get(each)]
    hints = [f"--group {following}", *(f"--show {each}" for each in others), "--list"]
    if len(steps) > 1:
        hints.insert(1, f"--step {steps[0] if step != steps[0] else steps[-1]}")
    console.print(Text(f"next: {', '.join(hints)}", style="dim"), soft_wrap=True)


def _coloured(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def visible(text: str) -> str:
    r"""Printable text on one line, with visible symbols for line breaks and for empty text.

    Example:
        >>> visible("a\x1b[31mb\n"), visible("")
        ('a\\x1b[31mb⏎', '∅')
    """
    return printable(re.sub(r"\r?\n", "⏎", text) or "∅")
