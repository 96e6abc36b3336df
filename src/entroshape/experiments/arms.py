"""Arms, the things that a comparison compares: a method with its options, and options of training that differ."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from itertools import product
from typing import Any

from entroshape.experiments.options import SET_BY_THE_COMPARISON
from entroshape.methods import build_method, method_names, nearest_option, option_names
from entroshape.options import affecting
from entroshape.training.config import TrainConfig
from entroshape.training.load import config_from
from entroshape.training.values import parse_value

LONGEST_FOLDER = 120
"""Longer names of directories are cut and end with a hash: file systems allow 255 bytes."""

_COMMA = re.compile(",")
_OPTION = re.compile(r":(?=[A-Za-z_]\w*=)")
"""Begins an option. A method ``module:Class`` has no ``=``, so the colon in it begins none."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method with its options, trained once per seed.

    Raises:
        ValueError: the method or an option is unknown; the message lists the valid ones.
    """

    method: str
    """A name that :func:`entroshape.build_method` takes."""

    method_options: dict[str, Any] = field(default_factory=dict)
    """Options of the method that differ from its defaults."""

    train_options: dict[str, Any] = field(default_factory=dict)
    """Options of :class:`~entroshape.training.config.TrainConfig` that differ from those of the comparison."""

    def __post_init__(self) -> None:
        build_method(self.method, self.method_options)

    @property
    def name(self) -> str:
        """The arm as it is written on a command line.

        Example:
            >>> Arm(method="gtpo", method_options={"alpha2": 0.5, "gate": False}).name
            'gtpo:alpha2=0.5:gate=false'
        """
        options = {**self.method_options, **self.train_options}
        return ":".join([self.method, *(f"{name}={_text(value)}" for name, value in options.items())])

    @property
    def folder(self) -> str:
        """The name in a form for directories.

        Example:
            >>> Arm(method="gtpo", method_options={"entropy_clip": [0.2, 0.28]}).folder
            'gtpo+entropy_clip=0.2-0.28'
        """
        safe = re.sub(r"[^\w.=+-]+", "-", self.name.replace(":", "+").replace("[", "").replace("]", "")).strip("-")
        if len(safe) <= LONGEST_FOLDER:
            return safe
        return f"{safe[:LONGEST_FOLDER]}-{sha256(self.name.encode()).hexdigest()[:8]}"

    def config(self, base: TrainConfig, seed: int, output: str | None = None) -> TrainConfig:
        """The options of this arm's run with a seed.

        Raises:
            ValueError: the value of an option is invalid, or options contradict each other.
        """
        own = {"method": self.method, "method_options": self.method_options, "seed": seed, "output": output}
        return config_from({**base.to_dict(), **self.train_options, **own}, f"arm {self.name}")

    def with_option(self, name: str, value: Any) -> Arm:
        """This arm with one more option: of the method if it has this option, otherwise of training."""
        if name in option_names(self.method):
            return replace(self, method_options={**self.method_options, name: value})
        return replace(self, train_options={**self.train_options, name: value})


def parse_arms(methods: Sequence[str], sweeps: Sequence[str] = ()) -> list[Arm]:
    """Parses arms from a command line, without duplicates.

    A sweep of a method's option applies to the arms whose method has it. A sweep of an option of training applies to
    all arms.

    Args:
        methods: ``METHOD[:OPTION=VALUE]...``, separated by commas or as several strings. A method may be
            ``module:Class``: an option begins at a colon that is followed by a name and ``=``.
        sweeps: ``OPTION=VALUE,VALUE,...``.

    Raises:
        ValueError: a method or option is unknown, or no arm has the option of a sweep.

    Example:
        >>> [arm.name for arm in parse_arms(["dapo,gtpo"], ["alpha2=0.1,0.5"])]
        ['dapo', 'gtpo:alpha2=0.1', 'gtpo:alpha2=0.5']
    """
    arms = [_named_arm(text) for texts in methods for text in _outside_brackets(texts, _COMMA) if text]
    if not arms:
        raise ValueError(f"methods must name at least one of {', '.join(method_names())}; got none")
    swept = [_parse_sweep(sweep) for sweep in sweeps]
    for name, _ in swept:
        if not any(_takes(arm, name) for arm in arms):
            raise ValueError(f"sweep: none of {', '.join(arm.name for arm in arms)} has an option {name!r}")
    all_arms = [each for arm in arms for each in _multiplied(arm, swept)]
    return list({arm.name: arm for arm in all_arms}.values())


def _multiplied(arm: Arm, sweeps: list[tuple[str, list[Any]]]) -> list[Arm]:
    own = [[(name, value) for value in values] for name, values in sweeps if _takes(arm, name)]
    result = []
    for choice in product(*own):
        each = arm
        for name, value in choice:
            each = each.with_option(name, value)
        result.append(each)
    return result


def _named_arm(text: str) -> Arm:
    try:
        return _parse_arm(text)
    except ValueError as error:
        raise ValueError(f"methods: {text!r}: {error}") from error


def _parse_arm(text: str) -> Arm:
    method, *options = _outside_brackets(text, _OPTION)
    if "=" in method:
        raise ValueError("expected METHOD[:OPTION=VALUE]... or module:Class[:OPTION=VALUE]..., with names before '='")
    own, of_training = option_names(method), _train_option_names()
    given: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name not in (*own, *of_training):
            near = nearest_option(method, name, of_training)
            choose = " Choose" if near else "; choose"
            raise ValueError(f"unknown option {name!r}{near}{choose} from {', '.join([*own, *of_training])}")
        if name in given:
            raise ValueError(f"option {name!r} is given twice")
        given[name] = parse_value(value)
    return Arm(
        method=method,
        method_options={name: value for name, value in given.items() if name in own},
        train_options={name: value for name, value in given.items() if name not in own},
    )


def _outside_brackets(text: str, separator: re.Pattern[str]) -> list[str]:
    """Splits ``text`` at the one-character matches of ``separator`` that are not inside brackets."""
    parts, start, depth = [], 0, 0
    for place, character in enumerate(text):
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        if depth == 0 and separator.match(text, place):
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _parse_sweep(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise ValueError(f"sweep must look like alpha2=0.1,0.2,0.5; got {text!r}")
    try:
        return name, [parse_value(value) for value in _outside_brackets(values, _COMMA)]
    except ValueError as error:
        raise ValueError(f"sweep: {text!r}: {error}") from error


def _takes(arm: Arm, name: str) -> bool:
    return name in option_names(arm.method) or name in _train_option_names()


def _train_option_names() -> list[str]:
    own = affecting(TrainConfig, *SET_BY_THE_COMPARISON, "further")
    return [option.name for option in fields(TrainConfig) if option.name not in own]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
