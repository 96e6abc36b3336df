"""Evaluation: sample answers to held-out problems, and count what they show: Mean@n, Pass@k, bootstrap intervals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entroshape.evaluation.metrics import bootstrap_interval, mean_at_k, pass_at_k
from entroshape.evaluation.table import evaluation_metrics, headline_ks, paired_changes, pass_curve

if TYPE_CHECKING:
    from entroshape.evaluation.evaluator import EvaluationResult, evaluate
    from entroshape.evaluation.sampling import SampledCompletion, sample_completions

_WITH_TRANSFORMERS = {
    "EvaluationResult": "entroshape.evaluation.evaluator",
    "evaluate": "entroshape.evaluation.evaluator",
    "SampledCompletion": "entroshape.evaluation.sampling",
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
    "mean_at_k",
    "paired_changes",
    "pass_at_k",
    "pass_curve",
    "sample_completions",
]
