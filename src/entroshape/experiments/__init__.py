"""Comparisons: methods held against each other over seeds, with paired differences and their intervals."""

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
