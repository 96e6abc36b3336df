"""What the completions of an evaluation amount to: the public names of :mod:`entroshape.metrics` that count them."""

from entroshape.metrics.aggregation import (
    evaluation_metrics,
    headline_ks,
    metric_intervals,
    paired_changes,
    pass_curve,
)
from entroshape.metrics.pass_at_k import bootstrap_interval, majority_at_n, mean_at_k, pass_at_k

__all__ = [
    "bootstrap_interval",
    "evaluation_metrics",
    "headline_ks",
    "majority_at_n",
    "mean_at_k",
    "metric_intervals",
    "paired_changes",
    "pass_at_k",
    "pass_curve",
]
