"""Comparisons: methods held against each other over seeds, with paired differences and their intervals."""

from typing import TYPE_CHECKING

from entroshape._lazy import lazily

if TYPE_CHECKING:
    from entroshape.experiments.arms import Arm, parse_arms
    from entroshape.experiments.comparison import Comparison, read_comparison, summarize, write_comparison
    from entroshape.experiments.statistics import Difference, Spread, holm, paired_difference, seeds_needed, spread

__all__ = [
    "Arm",
    "Comparison",
    "Difference",
    "Spread",
    "holm",
    "paired_difference",
    "parse_arms",
    "read_comparison",
    "seeds_needed",
    "spread",
    "summarize",
    "write_comparison",
]

_HOMES = {
    "entroshape.experiments.arms": ("Arm", "parse_arms"),
    "entroshape.experiments.comparison": ("Comparison", "read_comparison", "summarize", "write_comparison"),
    "entroshape.experiments.statistics": (
        "Difference",
        "Spread",
        "holm",
        "paired_difference",
        "seeds_needed",
        "spread",
    ),
}

__getattr__ = lazily(__name__, _HOMES)
