"""Metrics of a step's credit by kind of token, for tasks that name the kinds of their tokens.

Shapes: ``B`` completions, ``T`` token positions, ``K`` kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entroshape.methods import Credit

BY_KIND = "kind/"
"""Prefix of the names of metrics by kind: ``kind/OUTCOME/QUANTITY/NAME``, such as ``kind/success/entropy/operator``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenMarks:
    """What a task says about the tokens of a step's completions."""

    names: Sequence[str]
    """The ``K`` names of kinds."""

    kinds: Tensor
    """``[B, T]`` int64, places in ``names``; -1 where there is no token."""

    decisions: Tensor | None = None
    """``[B, T]`` bool, the tokens at which the policy decides something; ``None``: the task does not say."""

    first_errors: Tensor | None = None
    """``[B, T]`` bool, the first false token of each completion that has one; ``None``: the task does not say."""


@torch.no_grad()
def kind_metrics(marks: TokenMarks, credit: Credit, entropies: Tensor | None) -> dict[str, float]:
    """Share of tokens, entropy, weight and advantage by outcome and kind, and where bonus and penalty fall.

    Weights and advantages are means over the completions that get credit: those that are not gated. The bonus of a
    token is its weight in a success, the penalty its weight in a failure. Metrics over no tokens are left out, and
    those of weights if the method weighs nothing.

    Args:
        marks: the kinds of the tokens of ``B`` completions.
        credit: their credit.
        entropies: ``[B, T]`` entropies of the sampling policy in nats, if they are known.

    Returns:
        ``kind/OUTCOME/QUANTITY/NAME`` for the outcomes ``success`` and ``failure`` and the quantities ``share`` (of the
        outcome's tokens), ``entropy``, ``weight`` and ``advantage``; ``decisions_in_successes`` and
        ``decisions_in_failures`` (share of the tokens that get credit), ``bonus_on_decisions``,
        ``penalty_on_decisions``, ``first_error_share`` (of the tokens of failures that get credit),
        ``penalty_on_first_error``, ``first_error_weight`` and ``first_error_entropy``.
    """
    mask = marks.kinds >= 0
    weights, advantages = credit.weights(mask), credit.per_token(mask).advantages
    metrics: dict[str, float] = {}
    for outcome, own in (("success", credit.success), ("failure", ~credit.success)):
        live, credited = mask & own[:, None], mask & (own & ~credit.gated)[:, None]
        metrics |= _named(f"{outcome}/share", marks, _share(marks, live))
        for name, values, where in (
            ("entropy", entropies, live),
            ("weight", weights, credited),
            ("advantage", advantages, credited),
        ):
            if values is not None:
                metrics |= _named(f"{outcome}/{name}", marks, _means(marks, values, where))
        if marks.decisions is not None and bool(credited.any()):
            metrics |= _on_decisions(outcome, marks.decisions, credited, weights)
    if marks.first_errors is not None:
        failures = mask & ~credit.success[:, None]
        metrics |= _on_first_errors(marks.first_errors, failures, ~credit.gated[:, None], weights, entropies)
    return metrics


def _on_decisions(outcome: str, decisions: Tensor, credited: Tensor, weights: Tensor | None) -> dict[str, float]:
    plural, term = {"success": ("successes", "bonus"), "failure": ("failures", "penalty")}[outcome]
    metrics = {f"decisions_in_{plural}": _part(decisions, credited)}
    if weights is not None:
        metrics[f"{term}_on_decisions"] = _part(decisions, credited, weights)
    return metrics


def _on_first_errors(
    errors: Tensor, failures: Tensor, ungated: Tensor, weights: Tensor | None, entropies: Tensor | None
) -> dict[str, float]:
    metrics, credited = {}, failures & ungated
    if bool(credited.any()):
        metrics["first_error_share"] = _part(errors, credited)
        if weights is not None:
            metrics["penalty_on_first_error"] = _part(errors, credited, weights)
    for name, values, where in (("weight", weights, credited), ("entropy", entropies, failures)):
        if values is not None and bool((where & errors).any()):
            metrics[f"first_error_{name}"] = values[where & errors].double().mean().item()
    return metrics


def _part(chosen: Tensor, where: Tensor, values: Tensor | None = None) -> float:
    """The share that the chosen tokens have in the number, or in the sum of the values, of all tokens there."""
    values = torch.ones_like(where, dtype=torch.float64) if values is None else values.double()
    whole = values[where].sum().item()
    return values[where & chosen].sum().item() / whole if whole else 0.0


def _share(marks: TokenMarks, where: Tensor) -> Tensor:
    counts = torch.bincount(marks.kinds[where], minlength=len(marks.names)).double()
    return torch.where(counts > 0, counts / counts.sum(), torch.nan)


def _means(marks: TokenMarks, values: Tensor, where: Tensor) -> Tensor:
    """``[K]`` mean of each kind, NaN without tokens."""
    kinds, size = marks.kinds[where], len(marks.names)
    return torch.bincount(kinds, values[where].double(), minlength=size) / torch.bincount(kinds, minlength=size)


def _named(prefix: str, marks: TokenMarks, values: Tensor) -> dict[str, float]:
    pairs = zip(marks.names, values.tolist(), strict=True)
    return {f"{BY_KIND}{prefix}/{name}": value for name, value in pairs if value == value}
