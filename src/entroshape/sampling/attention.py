"""Attention of one new token per row to its cache, on a CPU: two matrix products in place of a fused kernel.

torch's fused attention for CPUs is made for many queries. With one query per row it takes about twice as long as two
batched products in which heads that share keys and values (grouped-query attention) are the rows of one product.

Shapes: ``B`` rows, ``H`` heads, ``K`` heads of keys and values (a divisor of ``H``), ``Q`` queries per row, ``S``
positions, ``D`` width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "entroshape_one_query"
"""Under which the attention is registered with transformers."""


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention with the interface and the results of transformers' ``sdpa``, which also computes all other cases.

    Args:
        module: the attention layer.
        query: ``[B, H, Q, D]``.
        key: ``[B, K, S, D]``.
        value: ``[B, K, S, D]``.
        attention_mask: ``[B, 1, Q, S]``, True where a query attends, or added to the scores; ``None``: everywhere.
        dropout: probability; not 0 only in training.
        scaling: of the scores; ``None``: ``D ** -0.5``.
        **kwargs: passed to ``sdpa``.

    Returns:
        ``[B, Q, H, D]``, and no weights.
    """
    rows, heads, queries, width = query.shape
    per_head = attention_mask is not None and attention_mask.shape[1] > 1
    if queries > 1 or dropout or per_head or query.device.type != "cpu" or query.dtype != torch.float32:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    grouped = query.reshape(rows, key.shape[1], -1, width)
    scores = grouped @ key.transpose(2, 3)
    scores *= width**-0.5 if scaling is None else scaling
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores.masked_fill_(~attention_mask, -torch.inf)
    elif attention_mask is not None:
        scores += attention_mask
    return (scores.softmax(dim=-1) @ value).view(rows, 1, heads, -1), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def one_query_attention(model: Any) -> Iterator[None]:
    """Lets ``model`` use :func:`attention` inside the context, if it uses ``sdpa`` on a CPU in float32.

    Args:
        model: a causal language model of transformers, without wrappers.
    """
    plain = model.config._attn_implementation == "sdpa" and not model.config.sub_configs
    if not (plain and model.device.type == "cpu" and model.dtype == torch.float32):
        yield
        return
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")
