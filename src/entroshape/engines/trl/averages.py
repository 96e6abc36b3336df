"""Figures of the loss as means over an update's tokens.

TRL logs the mean of its micro-batches' means. Where rows are sorted by length, that would count a token of a short
response more than one of a long response.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

OF_TOKENS = ("entropy", "kl")
"""TRL's figures that are means over tokens."""

OF_RATIOS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
"""Those that are means over whatever has an importance ratio: tokens, or responses, as many in each micro-batch."""


class TokenMeans:
    """Holds back the micro-batches' figures until their update is whole.

    Args:
        names: of the figures, keys of TRL's metrics.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._held: dict[str, list[tuple[float, float]]] = {name: [] for name in names}

    def take(self, metrics: MutableMapping[str, list[float]], tokens: float, *, last: bool) -> None:
        """Takes a micro-batch's figures out of ``metrics``; with the ``last`` of an update, their means go back in.

        Args:
            metrics: TRL's lists, whose last entries are this micro-batch's.
            tokens: how many tokens of all ranks they are means over.
            last: whether the update is whole.
        """
        for name in self._names:
            held = self._held[name]
            if metrics.get(name):
                held.append((metrics[name].pop(), tokens))
            if last and held:
                total = sum(count for _, count in held)
                metrics[name].append(sum(value * count for value, count in held) / max(total, 1.0))
                held.clear()
