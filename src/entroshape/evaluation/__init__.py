"""Evaluation: sample answers to held-out problems, and count what they show: Mean@n, Pass@k, majority@n, intervals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entroshape.evaluation.engine import SampledCompletion
from entroshape.evaluation.metrics import bootstrap_interval, majority_at_n, mean_at_k, pass_at_k
from entroshape.evaluation.table import evaluation_metrics, headline_ks, metric_intervals, paired_changes, pass_curve

if TYPE_CHECKING:
    from entroshape.evaluation.evaluator import EvaluationResult, evaluate
    from entroshape.evaluation.sampling import sample_completions

_WITH_TRANSFORMERS = {
    "EvaluationResult": "entroshape.evaluation.evaluator",
    "evaluate": "entroshape.evaluation.evaluator",
    "sample_completions": "entroshape.evaluation.sampling",
}


def __getattr__(name: str) -> Any:
    """Imports what needs transformers when it is asked for: counting and reporting need NumPy alone."""
    if name not in _WITH_TRANSFORMERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WITH_TRANSFORMERS[name]), name)


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
