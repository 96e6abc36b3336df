"""A large matrix some rows or columns at a time, so that what is computed on the way stays in a processor's cache.

Fresh memory is what a chain of elementwise operations pays for on a CPU: a temporary the size of a step's rollouts has
to be mapped page by page, which takes longer than the arithmetic. None of it changes a result: benchmarks/shaping.py
shows what it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from torch import Tensor

BLOCK_CPU = 2**18
"""Elements at a time on a CPU: one megabyte of float32."""

BLOCK_ACCELERATOR = 2**25
"""Elements at a time elsewhere, so many that launching kernels costs nothing."""

Result = TypeVar("Result", Tensor, tuple[Tensor, ...])


def slices(total: int, size: int) -> list[slice]:
    """``range(total)`` in consecutive slices of at most ``size``."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def in_blocks(function: Callable[..., Result], dim: int | None, *tensors: Tensor) -> Result:
    """``function(*tensors)``, where the rows (``dim=0``) or columns (``dim=1``) do not depend on each other.

    Args:
        function: of ``tensors``, to a tensor or several, each with that dimension in the same place.
        dim: along what the tensors are cut; ``None``: not at all.
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
    """Marks a function of ``[B, T]`` and ``[B]`` tensors in which no row depends on another one."""

    @wraps(function)
    def wrapped(*tensors: Tensor, **options: object) -> Result:
        return in_blocks(lambda *parts: function(*parts, **options), 0, *tensors)

    return wrapped
