"""A key-value cache whose layers write in place, for a batch that loses rows while it is sampled.

Shapes: ``B`` rows, ``H`` heads, ``S`` positions, ``D`` width of a head.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Positions for which a layer has room at first; the room doubles from there."""


class GrowingLayer(DynamicLayer):
    """transformers' ``DynamicLayer``, which copies all keys and values at every token, with room to write in place.

    Keys and values are the same. The room grows by doubling, up to ``limit``.

    Args:
        limit: largest number of positions.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._room: list[Tensor] = []
        self._length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Makes room for the first states ``[B, H, S, D]``."""
        super().lazy_initialization(key_states, value_states)
        self._room = [_room(states[:, :, :0], states.shape[2], self._limit) for states in (key_states, value_states)]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Adds states ``[B, H, S, D]``; returns all, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self._length = self._length, self._length + key_states.shape[2]
        if self._length > self._room[0].shape[2]:
            self._room = [_room(room[:, :, :start], self._length, self._limit) for room in self._room]
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start : self._length] = states
        return self._shown()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps (or repeats) the rows at ``indices``."""
        if self._length:
            kept = [room[indices.to(room.device), :, : self._length] for room in self._room]
            self._room = [_room(own, self._length + 1, self._limit) for own in kept]
            self._shown()

    def _shown(self) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (room[:, :, : self._length] for room in self._room)
        return self.keys, self.values


def _room(states: Tensor, needed: int, limit: int) -> Tensor:
    """Room for at least ``needed`` positions that begins with ``states``."""
    rows, heads, length, width = states.shape
    room = states.new_empty(rows, heads, max(needed, min(limit, max(ROOM, 2 * needed))), width)
    room[:, :, :length] = states
    return room


def empty_cache(config: Any, limit: int) -> DynamicCache:
    """Transformers' cache for a model of this ``config``, whose full-attention layers write in place.

    Args:
        config: of the model.
        limit: largest number of positions.
    """
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer(limit) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def layer_types(config: Any) -> set[type]:
    """The types of the layers of transformers' cache for a model of this ``config``."""
    return {type(layer) for layer in DynamicCache(config=config).layers}
