"""Log-probability and entropy of tokens under a policy, from its logits or directly from its hidden states.

Neither path allocates a second matrix of the size of the logits. Both process the logits tile by tile and keep four
numbers per row (:class:`OnlineSoftmax`). The log-probability has its own backward pass; the entropy has no gradient.

Shapes: ``...`` any leading dimensions (``[B, T]``, ``[N]``, none), ``N`` tokens in total, ``V`` vocabulary, ``D`` width
of the hidden state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from entroshape.checks import check_integer, check_number
from entroshape.credit._softmax import OnlineSoftmax, accumulator, product, row_chunks, tiles
from entroshape.credit.bounds import TEMPERATURES

CHUNK_CPU = 2**20
"""Default tile on a CPU, in elements: 4 MB of float32, which stays in the cache."""

CHUNK_ACCELERATOR = 2**25
"""Default tile elsewhere, in elements: 128 MB of float32, large enough that launching kernels costs nothing."""


def logprob_and_entropy(
    logits: Tensor, tokens: Tensor, *, temperature: float = 1.0, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""Log-probability of each token, and entropy of the full next-token distribution that it was drawn from.

    With :math:`\pi = \mathrm{softmax}(\mathrm{logits} / \mathrm{temperature})`, :math:`\log \pi(\mathrm{token})` and
    :math:`H = -\sum_v \pi_v \log \pi_v` (Eq. 4 of arXiv 2508.04349v6), both in nats. The gradient of the
    log-probability, :math:`(\mathrm{onehot} - \pi) / \mathrm{temperature}`, is recomputed from the logits in the
    backward pass, so that no other tensor of their size is kept.

    Args:
        logits: ``[..., V]``, any strides. ``-inf`` bans a token: its probability is 0, and it does not add to the
            entropy.
        tokens: ``[...]`` integers in ``[0, V)``.
        temperature: the sampling temperature, by which the logits are divided.
        chunk: number of logits that are processed at a time (rounded to whole rows). Working memory is about 3 times as
            many elements. Default: 2^20 on a CPU, 2^25 elsewhere. It changes results only by rounding.

    Returns:
        Log-probabilities ``[...]``, differentiable with respect to ``logits``, and entropies ``[...]``, without
        gradient; float32, or float64 for float64 logits. A row with a NaN, or with all logits ``-inf``, has no
        distribution and gives NaN in that row only.

    Raises:
        ValueError: shapes do not align, tokens are not integers in ``[0, V)``, logits are not floating point,
            ``temperature`` is not in [1e-6, 1e6], or ``chunk`` is below 1.

    Example:
        >>> logprobs, entropies = logprob_and_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
        >>> [round(x, 4) for x in logprobs.exp().tolist()], [round(x, 4) for x in entropies.exp().tolist()]
        ([0.25, 0.25], [4.0, 4.0])
    """
    _check_floating("logits", logits, "[..., V]")
    _check_tokens(tokens, logits.shape[:-1], logits.shape[-1])
    chunk = _check_options(temperature, chunk, logits)
    return _FromLogits.apply(logits, tokens.long(), temperature, chunk)


def entropy(logits: Tensor, *, temperature: float = 1.0, chunk: int | None = None) -> Tensor:
    """Entropy of ``softmax(logits / temperature)`` in nats, as a sampler records it at every step.

    Args:
        logits: ``[..., V]``; detached.
        temperature: see :func:`logprob_and_entropy`.
        chunk: see :func:`logprob_and_entropy`.

    Returns:
        ``[...]``, without gradient; float32, or float64 for float64 logits.

    Raises:
        ValueError: as :func:`logprob_and_entropy`.

    Example:
        >>> entropy(torch.tensor([[0.0, 0.0, -torch.inf]])).exp()
        tensor([2.])
    """
    _check_floating("logits", logits, "[..., V]")
    tokens = torch.zeros(logits.shape[:-1], dtype=torch.long, device=logits.device)
    return logprob_and_entropy(logits.detach(), tokens, temperature=temperature, chunk=chunk)[1]


def linear_logprob_and_entropy(
    hidden: Tensor,
    weight: Tensor,
    tokens: Tensor,
    *,
    temperature: float = 1.0,
    bias: Tensor | None = None,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`logprob_and_entropy` of ``hidden @ weight.T + bias``, which is never materialised.

    Tiles of logits (tokens times a part of the vocabulary) are computed, added to running sums (an online
    log-sum-exp) and discarded.

    * The gradient for ``hidden`` is ``weight[token] - E_pi[weight]`` over the temperature, times the upstream
      gradient. All but the last factor is accumulated in the **forward** pass, together with the sums. With a frozen
      ``weight`` (LoRA) the backward pass is therefore free, and neither ``hidden`` nor ``weight`` is kept for it.
    * The gradient for ``weight`` and ``bias`` weights each token with its upstream gradient, which the forward pass
      does not know, so the **backward** pass recomputes the tiles. Tokens with an upstream gradient of 0 (masked,
      clipped, gated) are left out and cost nothing. Each part of the vocabulary is finished, over all tokens, before
      the next.

    Matrix products are rounded to the inputs' dtype, as in ``torch.nn.functional.linear``. All sums over tiles are
    float32 (float64 for float64 inputs), and a gradient is cast once, at the end. Under autocast, inputs other than
    float64 are cast to its dtype, as in ``torch.nn.functional.linear``. Differentiable once.

    Args:
        hidden: ``[..., D]``.
        weight: ``[V, D]`` weight of the output layer, in ``hidden``'s dtype (any dtype under autocast).
        tokens: ``[...]`` integers in ``[0, V)``.
        temperature: the sampling temperature, by which the logits are divided.
        bias: ``[V]`` bias of the output layer, if it has one.
        chunk: number of logits per tile. Working memory is 3 to 8 times as many elements, plus ``[N, D]`` for the
            gradient of ``hidden``. Default: 2^20 on a CPU, 2^25 elsewhere. It changes results only by rounding.

    Returns:
        As for :func:`logprob_and_entropy`. The log-probabilities are differentiable with respect to ``hidden``,
        ``weight`` and ``bias``.

    Raises:
        ValueError: as for :func:`logprob_and_entropy`, or ``weight`` or ``bias`` do not align with ``hidden``.

    Example:
        >>> hidden, weight = torch.zeros(3, 2), torch.randn(4, 2)
        >>> logprobs, entropies = linear_logprob_and_entropy(hidden, weight, torch.tensor([0, 1, 3]))
        >>> [round(x, 4) for x in entropies.exp().tolist()]
        [4.0, 4.0, 4.0]
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and hidden.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    _check_head(hidden, weight, bias)
    _check_tokens(tokens, hidden.shape[:-1], len(weight))
    chunk = _check_options(temperature, chunk, hidden)
    keep = torch.is_grad_enabled() and hidden.requires_grad
    return _FromHidden.apply(hidden, weight, bias, tokens.long(), temperature, chunk, keep)


class _FromLogits(torch.autograd.Function):
    """Saves the logits and the sums. A tile is several whole rows."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor, temperature: float, chunk: int) -> tuple[Tensor, Tensor]:
        softmax = OnlineSoftmax.empty(tokens.flatten(), temperature, accumulator(logits))
        columns = slice(0, logits.shape[-1])
        for rows, tile in row_chunks(logits, chunk):
            softmax.update(tile, rows, columns)
        ctx.save_for_backward(logits, tokens, softmax.sums)
        ctx.temperature, ctx.chunk = temperature, chunk
        return _results(ctx, softmax, tokens.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor | None, _: None) -> tuple[Tensor | None, None, None, None]:
        if upstream is None:
            return None, None, None, None
        logits, tokens, sums = ctx.saved_tensors
        softmax = OnlineSoftmax(tokens.flatten(), ctx.temperature, sums)
        columns, upstream = slice(0, logits.shape[-1]), upstream.reshape(-1)
        for_logits = logits.new_empty(len(upstream), logits.shape[-1])
        for rows, tile in row_chunks(logits, ctx.chunk):
            if for_logits.dtype == sums.dtype:
                softmax.gradient(tile, rows, columns, upstream, out=for_logits[rows])
            else:
                for_logits[rows] = softmax.gradient(tile, rows, columns, upstream)
        return for_logits.view(logits.shape), None, None, None


class _FromHidden(torch.autograd.Function):
    """Computes tiles in the forward pass (sums, gradient of ``hidden``) and again in the backward pass (``weight``)."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
        chunk: int,
        for_hidden: bool,
    ) -> tuple[Tensor, Tensor]:
        states = hidden.reshape(-1, hidden.shape[-1])
        softmax = OnlineSoftmax.empty(tokens.flatten(), temperature, accumulator(hidden))
        mean = torch.zeros_like(states, dtype=softmax.sums.dtype) if for_hidden else None
        for columns, row_blocks in tiles(len(states), len(weight), chunk):
            part, part_bias = weight[columns], None if bias is None else bias[columns]
            for rows in row_blocks:
                exponentials, decay = softmax.update(product(states[rows], part.T, part_bias), rows, columns)
                if mean is not None:
                    mean[rows] *= decay[:, None]
                    mean[rows] += product(exponentials.to(part.dtype), part)
        if mean is not None:
            mean /= softmax.mass[:, None]
            mean = torch.sub(weight[softmax.tokens], mean, out=mean).div_(temperature)
        for_head = any(ctx.needs_input_grad[1:3])
        ctx.save_for_backward(mean, *((hidden, weight, bias, tokens, softmax.sums) if for_head else ()))
        ctx.temperature, ctx.chunk, ctx.shape, ctx.dtype = temperature, chunk, hidden.shape, hidden.dtype
        return _results(ctx, softmax, tokens.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        for_hidden = for_weight = for_bias = None
        if upstream is not None:
            slope, *saved = ctx.saved_tensors
            upstream = upstream.reshape(-1)
            if ctx.needs_input_grad[0]:
                # A token that does not count may have any value, and 0 times NaN is NaN.
                for_hidden = (slope * upstream[:, None]).masked_fill_((upstream == 0)[:, None], 0.0)
                for_hidden = for_hidden.to(ctx.dtype).view(ctx.shape)
            if saved:
                for_weight, for_bias = _head_gradients(ctx, upstream, *saved)
        return for_hidden, for_weight, for_bias, None, None, None, None


def _head_gradients(
    ctx: Any, upstream: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, sums: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients for ``weight`` and ``bias``, over the tokens whose upstream gradient is not 0."""
    active = upstream.nonzero()[:, 0]
    upstream, states = upstream[active], hidden.reshape(-1, hidden.shape[-1])[active]
    softmax = OnlineSoftmax(tokens.flatten()[active], ctx.temperature, sums[:, active])
    for_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
    for_bias = torch.empty_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
    for columns, row_blocks in tiles(len(states), len(weight), ctx.chunk):
        part, part_bias = weight[columns], None if bias is None else bias[columns]
        weight_sum = torch.zeros_like(part, dtype=sums.dtype)
        bias_sum = sums.new_zeros(len(part))
        for rows in row_blocks:
            tile = softmax.gradient(product(states[rows], part.T, part_bias), rows, columns, upstream)
            if for_weight is not None:
                weight_sum += product(tile.to(part.dtype).T, states[rows])
            if for_bias is not None:
                bias_sum += tile.sum(dim=0)
        if for_weight is not None:
            for_weight[columns] = weight_sum
        if for_bias is not None:
            for_bias[columns] = bias_sum
    return for_weight, for_bias


def _results(ctx: Any, softmax: OnlineSoftmax, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The results in the shape of the tokens, with entropies marked as not differentiable."""
    logprobs, entropies = (result.view(shape) for result in softmax.results())
    ctx.mark_non_differentiable(entropies)
    ctx.set_materialize_grads(False)
    return logprobs, entropies


def _check_options(temperature: float, chunk: int | None, like: Tensor) -> int:
    """The chunk to use, both options checked."""
    low, high = TEMPERATURES
    check_number("temperature", temperature, minimum=low, maximum=high)
    if chunk is None:
        return CHUNK_CPU if like.device.type == "cpu" else CHUNK_ACCELERATOR
    check_integer("chunk", chunk, minimum=1)
    return chunk


def _check_floating(name: str, value: Tensor, shape: str) -> None:
    """Raise ``ValueError`` unless ``value`` is floating point, of at least one dimension, the last not empty."""
    if value.ndim == 0 or value.shape[-1] == 0 or not value.is_floating_point():
        raise ValueError(f"{name} must be floating point {shape}, not empty; got {_described(value)}")


def _check_head(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    _check_floating("hidden", hidden, "[..., D]")
    width = hidden.shape[-1]
    if weight.ndim != 2 or weight.shape[1] != width or len(weight) == 0 or weight.dtype != hidden.dtype:
        raise ValueError(f"weight must be [V, {width}] of {hidden.dtype}, as hidden; got {_described(weight)}")
    if bias is not None and (list(bias.shape) != [len(weight)] or bias.dtype != hidden.dtype):
        raise ValueError(f"bias must be [{len(weight)}] of {hidden.dtype}, as weight; got {_described(bias)}")


def _check_tokens(tokens: Tensor, shape: torch.Size, vocabulary: int) -> None:
    if tokens.shape != shape:
        raise ValueError(f"tokens must have one entry per row: expected {list(shape)}, got {list(tokens.shape)}")
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise ValueError(f"tokens must be integers; got {tokens.dtype}")
    if tokens.numel() == 0:
        return
    low, high = (int(x) for x in tokens.aminmax())
    if low < 0 or high >= vocabulary:
        raise ValueError(f"tokens must be in [0, {vocabulary}), the vocabulary; got values from {low} to {high}")


def _described(value: Tensor) -> str:
    return f"{list(value.shape)} of {value.dtype}"
