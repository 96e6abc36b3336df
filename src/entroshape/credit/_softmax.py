"""Softmax of rows of logits that are computed tile by tile: the running sums, the tiles and their matrix products.

Shapes: ``N`` rows (tokens), ``V`` columns (vocabulary); a tile is ``[n, v]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from entroshape.credit._blocks import slices

LOG2_E = 1 / math.log(2)


class OnlineSoftmax:
    """Softmax of ``N`` rows, computed tile by tile. Only four numbers per row are kept, ``sums`` ``[4, N]``.

    ``maximum`` of the logits ``x`` so far; ``picked``, the token's logit; ``mass``, the sum of ``2^z`` with
    ``z = (x - maximum) / temperature`` in bits; ``moment``, the sum of ``z 2^z``. The maximum is subtracted before
    anything is scaled, which keeps large logits exact; base 2 has the fastest exponential that torch offers.
    """

    def __init__(self, tokens: Tensor, temperature: float, sums: Tensor) -> None:
        self.tokens, self.temperature, self.sums = tokens, temperature, sums
        self.maximum, self.picked, self.mass, self.moment = sums
        self._scale = LOG2_E / temperature
        smallest = torch.finfo(sums.dtype).smallest_normal * torch.finfo(sums.dtype).eps
        self._floor = math.log2(smallest) - 1

    @classmethod
    def empty(cls, tokens: Tensor, temperature: float, dtype: torch.dtype) -> OnlineSoftmax:
        """The state before the first tile, for ``tokens`` ``[N]``."""
        sums = torch.zeros(4, len(tokens), dtype=dtype, device=tokens.device)
        # The lowest finite number and not -inf, because a tile with only banned tokens would give -inf - -inf.
        sums[0] = torch.finfo(dtype).min
        return cls(tokens, temperature, sums)

    def update(self, tile: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Adds the logits of ``rows`` and ``columns``.

        Returns:
            The tile's ``2^z``, and the factor ``[n]`` that brings older sums of ``2^z`` to the new maximum.
        """
        maximum = torch.maximum(self.maximum[rows], tile.amax(dim=1))
        shift = self._bits(self.maximum[rows] - maximum)
        decay = shift.exp2()
        scores = self._bits(tile - maximum[:, None])
        exponentials = scores.exp2()
        column, inside = self._local(rows, columns)
        self.picked[rows] = torch.where(inside, tile.gather(1, column)[:, 0], self.picked[rows])
        self.moment[rows] = decay * (self.moment[rows] + self.mass[rows] * shift)
        self.moment[rows] += scores.mul_(exponentials).sum(dim=1)
        self.mass[rows] = decay * self.mass[rows] + exponentials.sum(dim=1)
        self.maximum[rows] = maximum
        return exponentials, decay

    def results(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``[N]``, in nats."""
        log_mass = self.mass.log()
        logprobs = (self.picked - self.maximum) / self.temperature - log_mass
        return logprobs, log_mass - self.moment / (self.mass * LOG2_E)

    def gradient(
        self, tile: Tensor, rows: slice, columns: slice, upstream: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """Gradient for a tile of logits: ``(onehot - softmax) / temperature`` times ``upstream`` ``[N]``."""
        scaled = upstream[rows] / self.temperature
        gradient = self._bits(torch.sub(tile, self.maximum[rows, None], out=out)).exp2_()
        gradient.mul_((-scaled / self.mass[rows])[:, None])
        column, inside = self._local(rows, columns)
        return gradient.scatter_add_(1, column, torch.where(inside, scaled, 0.0)[:, None])

    def _bits(self, difference: Tensor) -> Tensor:
        """Converts to base 2, in place. Values are clamped just below underflow, where ``2^z`` and ``z 2^z`` are 0."""
        return difference.mul_(self._scale).clamp_(min=self._floor)

    def _local(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """Each token's column in the tile ``[n, 1]``, and whether it lies there ``[n]``."""
        column, width = self.tokens[rows] - columns.start, columns.stop - columns.start
        return column.clamp(0, width - 1)[:, None], (column >= 0) & (column < width)


def accumulator(x: Tensor) -> torch.dtype:
    """The dtype of sums over ``x``: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """``left @ right + bias``, in ``left``'s dtype, with the fastest available kernel.

    Float32 on a CPU uses oneDNN. Torch's default there is MKL, which does not use AVX-512 on AMD CPUs and takes twice
    as long.
    """
    if left.device.type == "cpu" and left.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return F.linear(left.to_mkldnn(), right.T, bias).to_dense()
    return F.linear(left, right.T, bias)


def tiles(rows: int, columns: int, chunk: int) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of the columns, each with all slices of the rows: tiles of at most ``chunk`` elements, near square.

    Among tiles of equal size, square ones read the least of the two factors of their product.
    """
    height = max(1, min(rows, math.isqrt(chunk)))
    for part in slices(columns, max(1, chunk // height)):
        yield part, slices(rows, height)


def row_chunks(logits: Tensor, chunk: int, first: int = 0) -> Iterator[tuple[slice, Tensor]]:
    """Yields whole rows of about ``chunk`` elements as views ``[n, V]``, with their slice among all rows; no copies."""
    if logits.ndim > 2 and not logits.is_contiguous():
        for part in logits:
            yield from row_chunks(part, chunk, first)
            first += part.shape[:-1].numel()
        return
    flat = logits[None] if logits.ndim == 1 else logits.flatten(0, -2)
    for rows in slices(len(flat), max(1, chunk // flat.shape[-1])):
        yield slice(first + rows.start, first + rows.stop), flat[rows]
