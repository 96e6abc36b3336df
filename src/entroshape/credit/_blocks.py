"""Processes a large matrix in blocks of rows or columns, so that temporaries stay in the CPU's cache.

On a CPU, a chain of elementwise operations spends most of its time on fresh memory: a temporary of the size of a step's
rollouts has to be mapped page by page, which takes longer than the arithmetic. Results do not change.
benchmarks/shaping.py measures the saving.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from torch import Tensor

BLOCK_CPU = 2**18
"""Elements per block on a CPU: one megabyte of float32."""

BLOCK_ACCELERATOR = 2**25
"""Elements per block on other devices, large enough that kernel launches cost nothing."""

Result = TypeVar("Result", Tensor, tuple[Tensor, ...])


def slices(total: int, size: int) -> list[slice]:
    """``range(total)`` in consecutive slices of at most ``size``."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def in_blocks(function: Callable[..., Result], dim: int | None, *tensors: Tensor) -> Result:
    """Computes ``function(*tensors)`` in blocks of independent rows (``dim=0``) or columns (``dim=1``).

    Args:
        function: maps ``tensors`` to one or several tensors that have this dimension in the same place.
        dim: the dimension along which tensors are cut; ``None``: they are not cut.
        tensors: ``[B, T]`` or ``[B]``; at least one is a matrix. Vectors are not cut along columns.
    """
    matrix = next(tensor for tensor in tensors if tensor.ndim == 2)
    size = BLOCK_CPU if matrix.device.type == "cpu" else BLOCK_ACCELERATOR
    if dim is None or matrix.numel() <= size:
        return function(*tensors)
    total, other = matrix.shape[dim], matrix.shape[1 - dim]
    out: tuple[Tensor, ...] = ()
    for part in slices(total, max(1, size // other)):
        cut = [x if x.ndim <= dim else x.narrow(dim, part.start, part.stop - part.start).contiguous() for x in tensors]
        result = function(*cut)
        pieces = (result,) if isinstance(result, Tensor) else result
        if not out:
            out = tuple(p.new_empty([total if d == dim else n for d, n in enumerate(p.shape)]) for p in pieces)
        for whole, piece in zip(out, pieces, strict=True):
            whole.narrow(dim, part.start, part.stop - part.start).copy_(piece)
    return out[0] if isinstance(result, Tensor) else out


def row_wise(function: Callable[..., Result]) -> Callable[..., Result]:
    """Decorates a function of ``[B, T]`` and ``[B]`` tensors with independent rows, so that it runs in blocks."""

    @wraps(function)
    def wrapped(*tensors: Tensor, **options: object) -> Result:
        return in_blocks(lambda *parts: function(*parts, **options), 0, *tensors)

    return wrapped
