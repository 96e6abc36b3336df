"""Shaped rewards (Eq. 3, 5, 8 and 9 of arXiv 2508.04349v6): the outcome plus an entropy-weighted term.

Shapes: ``B`` completions, ``T`` token positions. Entropies are in nats and positive. ``base`` is the reward of a
completion for its outcome: the paper's ``r_i`` for a success and -1 for a failure, plus the overlong punishment.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from entroshape.checks import check_choice
from entroshape.credit._blocks import row_wise
from entroshape.credit.comparison import Axis, Mean, comparison_weights, response_weights
from entroshape.credit.sets import outcome_sets, statistics_dtype

FailureSignal = Literal["inverse", "direct"]


@torch.no_grad()
def shaped_token_rewards(
    base: Tensor,
    entropies: Tensor,
    mask: Tensor,
    success: Tensor,
    sets: Tensor,
    *,
    alpha1: float = 1.0,
    alpha2: float = 0.1,
    axis: Axis = "column",
    mean: Mean = "arithmetic",
    failure_signal: FailureSignal = "inverse",
) -> Tensor:
    """GTPO's shaped rewards (Eq. 3, 5).

    With sums over the ``d_t`` (``h_t``) live completions of the same outcome::

        r+_{i,t} =  alpha1 * r_i + alpha2 * d_t * H_{i,t}     / sum_k H_{k,t}         for successes
        r-_{j,t} = -alpha1       - alpha2 * h_t * (1/H_{j,t}) / sum_k (1/H_{k,t})     for failures

    Args:
        base: ``[B]`` base rewards.
        entropies: ``[B, T]`` positive where ``mask`` is 1, elsewhere never read.
        mask: ``[B, T]`` bool, the live tokens.
        success: ``[B]`` bool.
        sets: ``[B]`` integer ids; completions with equal ids and the same outcome are compared.
        alpha1: weight of the outcome.
        alpha2: weight of the entropy term.
        axis: see :func:`~entroshape.credit.comparison.comparison_weights`.
        mean: see :func:`~entroshape.credit.comparison.comparison_weights`.
        failure_signal: what failures are compared by: ``"inverse"`` (``1 / H``, Eq. 5) or ``"direct"`` (``H``, which is
            not the paper's).

    Returns:
        ``[B, T]`` float32, 0 where ``mask`` is 0.

    Raises:
        ValueError: an option is unknown.

    Example:
        >>> H, mask = torch.tensor([[1.0], [3.0], [2.0]]), torch.ones(3, 1, dtype=torch.bool)
        >>> base, right = torch.tensor([1.0, 1.0, -1.0]), torch.tensor([True, True, False])
        >>> shaped_token_rewards(base, H, mask, right, torch.zeros(3, dtype=torch.long)).flatten()
        tensor([ 1.0500,  1.1500, -1.1000])
    """
    check_choice("failure_signal", failure_signal, get_args(FailureSignal))
    right = success[:, None]
    compared = entropies if failure_signal == "direct" else torch.where(right, entropies, 1 / entropies)
    weights = comparison_weights(compared, mask, outcome_sets(sets, success), axis=axis, mean=mean)
    outcome, sign = (alpha1 * base).float()[:, None], torch.where(right, 1.0, -1.0)
    return torch.where(mask, outcome + alpha2 * sign * weights, 0.0)


@torch.no_grad()
@row_wise
def response_entropies(entropies: Tensor, mask: Tensor, *, mean: Mean = "arithmetic") -> Tensor:
    """The entropy of a completion, the mean over its tokens: ``Hbar_k = mean_t H_{k,t}`` (Eq. 8).

    Args:
        entropies: ``[B, T]`` positive where ``mask`` is 1, elsewhere never read.
        mask: ``[B, T]`` bool, the live tokens.
        mean: ``"arithmetic"`` (Eq. 8), or ``"geometric"``: ``(prod_t H_{k,t})^(1/|o_k|)`` (Appendix C).

    Returns:
        ``[B]`` nats in :func:`~entroshape.credit.sets.statistics_dtype`; 1 for an empty completion. The mean of equal
        entropies is exact.

    Example:
        >>> response_entropies(torch.tensor([[1.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool)).item()
        2.0
    """
    wide = statistics_dtype(entropies)
    tokens = mask.sum(dim=1)
    if mean == "arithmetic":
        average = torch.where(mask, entropies, 0.0).sum(dim=1, dtype=wide) / tokens.clamp(min=1)
    else:
        largest = torch.where(mask, entropies, 0.0).amax(dim=1).to(wide) if mask.shape[1] else tokens.to(wide)
        logs = torch.where(mask, (entropies.to(wide) / largest[:, None]).log(), 0.0)
        average = largest * (logs.sum(dim=1) / tokens.clamp(min=1)).exp()
    return torch.where(tokens > 0, average, 1.0)


@torch.no_grad()
def shaped_response_rewards(
    base: Tensor,
    entropies: Tensor,
    mask: Tensor,
    success: Tensor,
    sets: Tensor,
    *,
    beta1: float = 1.0,
    beta2: float = 0.1,
    mean: Mean = "arithmetic",
    sequence_entropy_mean: Mean = "arithmetic",
) -> Tensor:
    """GRPO-S's shaped rewards (Eq. 9).

    With ``Hbar`` by Eq. 8, ``n`` successes and ``m`` failures in the set::

        r+_i =  beta1 * r_i + beta2 * n * Hbar_i     / sum_k Hbar_k         for successes
        r-_j = -beta1       - beta2 * m * (1/Hbar_j) / sum_k (1/Hbar_k)     for failures

    An empty completion has no entropy: it keeps the neutral weight 1, and the others are compared without it.

    Args:
        base: ``[B]`` base rewards.
        entropies: ``[B, T]`` positive where ``mask`` is 1, elsewhere never read.
        mask: ``[B, T]`` bool, the live tokens.
        success: ``[B]`` bool.
        sets: ``[B]`` integer ids; completions with equal ids and the same outcome are compared.
        beta1: weight of the outcome.
        beta2: weight of the entropy term.
        mean: mean of the completions' entropies, ``"arithmetic"`` (Eq. 9) or ``"geometric"`` (Appendix C).
        sequence_entropy_mean: mean of the tokens' entropies, see :func:`response_entropies`.

    Returns:
        ``[B]`` in :func:`~entroshape.credit.sets.statistics_dtype`.

    Example:
        >>> H, mask = torch.tensor([[1.0], [3.0], [2.0]]), torch.ones(3, 1, dtype=torch.bool)
        >>> base, right = torch.tensor([1.0, 1.0, -1.0]), torch.tensor([True, True, False])
        >>> shaped_response_rewards(base, H, mask, right, torch.zeros(3, dtype=torch.long)).tolist()
        [1.05, 1.15, -1.1]
    """
    own = response_entropies(entropies, mask, mean=sequence_entropy_mean)
    compared = torch.where(success, own, 1 / own)
    weights = response_weights(compared, outcome_sets(sets, success), mask.any(dim=1), mean=mean)
    sign = torch.where(success, 1.0, -1.0)
    return beta1 * base + beta2 * (sign * weights)
