"""Evaluation: sample answers to held-out problems, and count what they show: Mean@n, Pass@k, majority@n, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entroshape._lazy import lazily
from entroshape.evaluation.engine import SampledCompletion
from entroshape.evaluation.metrics import bootstrap_interval, majority_at_n, mean_at_k, pass_at_k
from entroshape.evaluation.table import evaluation_metrics, headline_ks, metric_intervals, paired_changes, pass_curve

if TYPE_CHECKING:
    from entroshape.evaluation.evaluator import EvaluationResult, evaluate
    from entroshape.evaluation.sampling import sample_completions

_WITH_TRANSFORMERS = {
    "entroshape.evaluation.evaluator": ("EvaluationResult", "evaluate"),
    "entroshape.evaluation.sampling": ("sample_completions",),
}
"""Counting and reporting need NumPy alone."""

__getattr__ = lazily(__name__, _WITH_TRANSFORMERS)

__all__ = [
    "EvaluationResult",
    "SampledCompletion",
    "bootstrap_interval",
    "evaluate",
    "evaluation_metrics",
    "headline_ks",
    "majority_at_n",
    "mean_at_k",
    "metric_intervals",
    "paired_changes",
    "pass_at_k",
    "pass_curve",
    "sample_completions",
]
