"""Random numbers of a row, and tokens drawn from them by the inverse distribution function.

The random number of a token depends on the seed, its row and its position alone. A row's tokens therefore do not depend
on the rows that it is batched with, and the same row gets the same numbers at every temperature.

Shapes: ``B`` rows, ``T`` completion positions, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCK = 128
"""Positions whose random numbers are drawn at a time."""

TILE_CPU = 2**20
"""Probabilities that are processed at a time on a CPU, where they stay in the cache."""

TILE_ACCELERATOR = 2**25
"""The same elsewhere."""


def derived_seed(*numbers: int) -> int:
    """A seed below 2 ** 64, derived from integers of at least 0. Seeds of different numbers are independent.

    Trailing zeros do not count: ``derived_seed(3)`` and ``derived_seed(3, 0)`` are equal.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class RowNumbers:
    """Uniform random numbers in [0, 1): row ``r`` at position ``t`` has the ``t``-th number of stream ``(seed, r)``.

    The streams are NumPy's Philox generators, a counter-based generator whose key is the seed and the row.

    Args:
        seed: below 2 ** 64.
        rows: ``B`` integers in [0, 2 ** 64), the stream of each row.
        device: of the numbers.
    """

    def __init__(self, seed: int, rows: Sequence[int], device: torch.device) -> None:
        self._streams = [
            np.random.Generator(np.random.Philox(key=np.array([seed, row], dtype=np.uint64))) for row in rows
        ]
        self._device = device
        # MPS has no float64.
        self._dtype = np.float32 if device.type == "mps" else np.float64
        self._block = torch.empty(0, len(rows))
        self._used = 0

    def next(self) -> Tensor:
        """The numbers ``[B]`` of the next position; float64 (float32 on MPS)."""
        if self._used == len(self._block):
            drawn = np.stack([stream.random(BLOCK) for stream in self._streams], axis=1)
            # Rounded to float32, a number could reach 1.
            drawn = np.minimum(drawn.astype(self._dtype), np.nextafter(self._dtype(1), self._dtype(0)))
            self._block, self._used = torch.from_numpy(drawn).to(self._device), 0
        self._used += 1
        return self._block[self._used - 1]

    def keep(self, index: Tensor) -> None:
        """Keeps the rows at ``index`` only."""
        self._streams = [self._streams[i] for i in index.tolist()]
        self._block = self._block[:, index]


def draw(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Draws a token per row from ``softmax(logits / temperature)``.

    It is the first token whose cumulative probability exceeds the row's random number. Sums are float64 (float32 on
    MPS), so that the error of a probability is that of the softmax, for any vocabulary. A token of probability 0 is
    never drawn.

    Args:
        logits: ``[B, V]``. A row with NaN, or with all logits ``-inf``, gives any token: the caller checks.
        uniform: ``[B]`` numbers in [0, 1).
        temperature: 0 takes the most probable token, the first of equals, and needs no random numbers.

    Returns:
        ``[B]`` int64.

    Example:
        >>> draw(torch.tensor([[0.0, 0.0]] * 2), torch.tensor([0.49, 0.51], dtype=torch.float64), 1.0)
        tensor([0, 1])
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    height = max(1, (TILE_CPU if logits.device.type == "cpu" else TILE_ACCELERATOR) // logits.shape[-1])
    if len(logits) <= height:
        return _inverse(logits, uniform, temperature)
    parts = zip(logits.split(height), uniform.split(height), strict=True)
    return torch.cat([_inverse(part, numbers, temperature) for part, numbers in parts])


def _inverse(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    logits = logits.float() if logits.dtype != torch.float64 else logits
    masses = logits.sub(logits.amax(dim=-1, keepdim=True)).div_(temperature).exp_()
    sums = masses.cumsum(dim=-1, dtype=uniform.dtype)
    target = uniform * sums[:, -1]
    drawn = torch.searchsorted(sums, target[:, None], right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)
    if logits.device.type == "cpu":
        return drawn
    # Parallel sums are not exactly monotone, so a search may end beside the token that it means.
    return torch.where(masses.gather(1, drawn[:, None])[:, 0] > 0, drawn, masses.argmax(dim=-1))
