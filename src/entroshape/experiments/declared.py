"""What a comparison declares before there are results: its arms, seeds, baseline and primary metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from entroshape.printable import shown


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The arms, the seeds and the one metric that a comparison is about. All other figures of it are exploratory."""

    arms: list[str]
    """Names of the arms."""

    seeds: list[int]
    """The seeds, in order."""

    baseline: str
    """The arm that the others are compared with."""

    primary: str | None = None
    """The primary metric, such as ``"above-hull@32"`` or ``"mean@32"``; ``None`` if none was declared."""

    def to_dict(self) -> dict[str, Any]:
        """The fields, as they are written to a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> Declared:
        """The inverse of :meth:`to_dict`, for content that was read from a file.

        Raises:
            ValueError: the value is not a declaration.
        """
        try:
            declared = cls(**value)
        except TypeError as error:
            raise ValueError(f"declared must be an object with arms, seeds, baseline and primary: {error}") from error
        texts = [*_list("arms", declared.arms), declared.baseline, declared.primary or ""]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"declared must name arms, baseline and primary as text; got {shown(value)}")
        if not all(type(seed) is int for seed in _list("seeds", declared.seeds)):
            raise ValueError(f"declared must have whole numbers as seeds; got {shown(declared.seeds)}")
        if declared.baseline not in declared.arms:
            raise ValueError(f"declared must have its baseline among its arms; got {shown(declared.baseline)}")
        return declared

    @property
    def text(self) -> str:
        """The declaration in words.

        Example:
            >>> Declared(arms=["dapo", "gtpo"], seeds=[0, 1, 2, 7], baseline="dapo", primary="mean@32").text
            'arms dapo, gtpo; seeds 0 to 2, 7; baseline dapo; primary metric mean@32'
        """
        primary = f"primary metric {self.primary}" if self.primary else "no primary metric"
        return f"arms {', '.join(self.arms)}; seeds {ranges(self.seeds)}; baseline {self.baseline}; {primary}"


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"declared must have a list of {name}; got {shown(value)}")
    return value


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in words, with neighbours together.

    Example:
        >>> ranges([3, 0, 1, 2, 7, 9, 8]), ranges([4, 5])
        ('0 to 3, 7 to 9', '4, 5')
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)
