"""Punishments of overlong completions, added to the base reward before any shaping.

Shapes: ``B`` completions. Lengths are in tokens. Punishments are in units of the reward, never positive, and have the
dtype :func:`~entroshape.credit.sets.statistics_dtype`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from entroshape.checks import check_integer, check_number
from entroshape.credit.sets import set_extreme, set_ids, set_sum, statistics_dtype

MAX_LENGTH = 2**24
"""Float32, the widest type of some devices, represents all integers up to this one exactly."""


@dataclass(frozen=True, kw_only=True)
class SoftOverlong:
    """DAPO's soft overlong punishment (Eq. 13 of arXiv 2503.14476).

    0 up to ``max_length - cache`` tokens, then linear down to -1 at ``max_length``, and -1 past it.

    Raises:
        ValueError: unless ``0 < cache <= max_length``.

    Example:
        >>> SoftOverlong(max_length=10, cache=4).punishment(torch.tensor([6, 8, 10, 12])).tolist()
        [0.0, -0.5, -1.0, -1.0]
    """

    max_length: int
    """Length in tokens from which the punishment is -1: the generation limit."""

    cache: int
    """Number of tokens before ``max_length`` over which the punishment grows from 0 to -1."""

    def __post_init__(self) -> None:
        check_integer("max_length", self.max_length, minimum=1, maximum=MAX_LENGTH)
        check_integer("cache", self.cache, minimum=1, maximum=self.max_length)

    def punishment(self, lengths: Tensor, success: Tensor | None = None, group: Tensor | None = None) -> Tensor:
        """``[B]`` punishments of ``lengths`` ``[B]``; they do not depend on outcomes or groups."""
        excess = lengths.to(statistics_dtype(lengths)) - (self.max_length - self.cache)
        return 0.0 - (excess / self.cache).clamp(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class GroupRelativeOverlong:
    """Group Relative Overlong Punishment (Appendix D of arXiv 2508.04349v6): lengths are compared within the group.

    Let ``p`` be the share of successes in the group and ``gamma2 = 1 - gamma1``. For an easy prompt (``p >= gamma1``),
    successes are punished, with the reference length ``L = max((min + max) / 2, mean)`` over the lengths of successes.
    For a hard prompt (``p <= gamma2``), nothing is punished unless ``hard`` is set. In between, ``L`` is taken over all
    completions, and the majority outcome is punished; at a tie, the failures. The punishment is 0 below ``L``,
    ``-(length - L) / (2 L)`` below ``2 L``, and -1/2 from there. The paper does not print the last case (failures); it
    follows by symmetry.

    Raises:
        ValueError: unless ``0.5 < gamma1 < 1``.

    Example:
        >>> rule = GroupRelativeOverlong(gamma1=0.75)
        >>> right = torch.tensor([True, True, True, False])
        >>> rule.punishment(torch.tensor([2, 4, 6, 90]), right, torch.zeros(4, dtype=torch.long)).tolist()
        [0.0, 0.0, -0.25, 0.0]
    """

    gamma1: float = 0.75
    """Share of successes from which a prompt is easy. The paper gives no value."""

    hard: SoftOverlong | None = None
    """Punishment for hard prompts: ``None`` for no punishment, or DAPO's."""

    def __post_init__(self) -> None:
        check_number("gamma1", self.gamma1, minimum=0.5, maximum=1.0, exclusive=True)
        if not (self.hard is None or isinstance(self.hard, SoftOverlong)):
            raise ValueError(f"hard must be a SoftOverlong or None; got {self.hard!r}")

    def punishment(self, lengths: Tensor, success: Tensor, group: Tensor) -> Tensor:
        """``[B]`` punishments.

        Args:
            lengths: ``[B]`` completion lengths in tokens.
            success: ``[B]`` bool, computed from the raw reward.
            group: ``[B]`` integer ids of the prompts.
        """
        ids, count = set_ids(group)
        wide = statistics_dtype(lengths)
        n, m = set_sum(success.to(wide), ids, count), set_sum((~success).to(wide), ids, count)
        easy = (n / (n + m) >= self.gamma1)[ids]
        hard = (m / (n + m) >= self.gamma1)[ids]  # p <= 1 - gamma1, whose rounding would decide at the boundary
        punished = torch.where(easy | (n > m)[ids], success, ~success) & ~hard

        lengths = lengths.to(wide)
        limit = torch.where(
            easy,
            _reference_length(lengths, success, ids, count),
            _reference_length(lengths, torch.ones_like(success), ids, count),
        )
        excess = (lengths - limit) / (2 * limit.clamp(min=1e-6))
        out = torch.where(punished, 0.0 - excess.clamp(0.0, 0.5), 0.0)
        if self.hard is not None:
            out = torch.where(hard, self.hard.punishment(lengths), out)
        return out


Overlong = SoftOverlong | GroupRelativeOverlong

KINDS: dict[str, type[SoftOverlong] | type[GroupRelativeOverlong]] = {
    "soft": SoftOverlong,
    "group_relative": GroupRelativeOverlong,
}
"""The punishments by the names that configuration files use."""


def overlong_from_options(options: Mapping[str, Any]) -> Overlong:
    """Builds a punishment from plain options with its ``kind``, as in configuration files.

    Raises:
        ValueError: the kind or an option is unknown or missing; the message lists the valid ones.

    Example:
        >>> overlong_from_options({"kind": "soft", "max_length": 4096, "cache": 1024})
        SoftOverlong(max_length=4096, cache=1024)
    """
    kind = options.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind of overlong must be one of {', '.join(KINDS)}; got {dict(options)!r}")
    given = {name: value for name, value in options.items() if name != "kind"}
    options_of_kind = fields(KINDS[kind])
    valid = [option.name for option in options_of_kind]
    if unknown := [name for name in given if name not in valid]:
        raise ValueError(f"overlong of kind {kind!r} has the options {', '.join(valid)}; got {unknown[0]!r}")
    required = [option.name for option in options_of_kind if option.default is MISSING]
    if missing := [name for name in required if name not in given]:
        raise ValueError(f"overlong of kind {kind!r} needs the options {', '.join(required)}; {missing[0]} is missing")
    if isinstance(given.get("hard"), Mapping):
        given["hard"] = overlong_from_options(given["hard"])
    return KINDS[kind](**given)


def overlong_to_options(overlong: Overlong) -> dict[str, Any]:
    """The inverse of :func:`overlong_from_options`."""
    kind = next(name for name, cls in KINDS.items() if type(overlong) is cls)
    given = {field.name: getattr(overlong, field.name) for field in fields(overlong)}
    if given.get("hard") is not None:
        given["hard"] = overlong_to_options(given["hard"])
    return {"kind": kind, **given}


def _reference_length(lengths: Tensor, counted: Tensor, ids: Tensor, count: int) -> Tensor:
    """``[B]`` ``max((min + max) / 2, mean)`` of the counted lengths of a completion's group; 0 if there are none."""
    low = set_extreme(lengths, counted, ids, count, "amin")
    high = set_extreme(lengths, counted, ids, count, "amax")
    size = set_sum(counted.to(lengths.dtype), ids, count)
    mean = set_sum(torch.where(counted, lengths, 0.0), ids, count) / size.clamp(min=1)
    return torch.where(size > 0, torch.maximum((low + high) / 2, mean), 0.0)[ids]
