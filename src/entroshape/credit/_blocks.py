"""A large matrix some rows or columns at a time, so that what is computed on the way stays in a processor's cache.

Fresh memory is what a chain of elementwise operations pays for on a CPU: a temporary the size of a step's rollouts has
to be mapped page by page, which takes longer than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_CPU = 2**17
"""Elements at a time on a CPU: half a megabyte of float32."""

BLOCK_ACCELERATOR = 2**25
"""Elements at a time elsewhere, so many that launching kernels costs nothing."""


def slices(total: int, size: int) -> list[slice]:
    """``range(total)`` in consecutive slices of at most ``size``."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def row_blocks(matrix: Tensor) -> list[slice]:
    """Slices of the rows of a ``[B, T]`` matrix; one at least, though it be empty."""
    rows, columns = matrix.shape
    return slices(rows, max(1, _block(matrix) // max(columns, 1))) or [slice(0, 0)]


def column_blocks(matrix: Tensor) -> list[slice]:
    """Slices of the columns of a ``[B, T]`` matrix."""
    rows, columns = matrix.shape
    return slices(columns, max(1, _block(matrix) // max(rows, 1)))


def by_rows(matrix: Tensor, reduce: Callable[[slice], Tensor]) -> Tensor:
    """``[B, ...]``: what ``reduce`` gives for each block of the rows of ``matrix``, one below the other."""
    return torch.cat([reduce(rows) for rows in row_blocks(matrix)])


def token_counts(mask: Tensor) -> Tensor:
    """``[B]`` float32: how many tokens of each row are live. Summing a bool matrix at once would make an int64 one."""
    return by_rows(mask, lambda rows: mask[rows].float().sum(dim=1))


def _block(matrix: Tensor) -> int:
    return BLOCK_CPU if matrix.device.type == "cpu" else BLOCK_ACCELERATOR
