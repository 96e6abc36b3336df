"""Rows of rollouts across ranks and rounds: gather, join, choose, and take back this rank's share.

Shapes: ``B`` responses, ``P`` prompt positions (padded on the left), ``T`` completion positions (padded on the right).
Ranks and rounds pad to lengths of their own; here they are brought to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import pad

Rows = dict[str, Tensor]

LEFT_PADDED = ("prompt_ids", "prompt_mask")


def gather_rows(accelerator: Accelerator, rows: Rows, pad_token_id: int) -> Rows:
    """The rows of all ranks, in rank order, on every rank: ``[B_rank, ...]`` to ``[B, ...]``."""
    gathered = {}
    for name, value in sorted(rows.items()):  # every rank must meet the same collectives in the same order
        if accelerator.num_processes > 1 and value.ndim > 1:
            value = accelerator.pad_across_processes(
                value, dim=1, pad_index=_padding(name, pad_token_id), pad_first=name in LEFT_PADDED
            )
        gathered[name] = accelerator.gather(value)
    return gathered


def join_rows(parts: Sequence[Rows], pad_token_id: int) -> Rows:
    """Rounds of rows one below the other, padded to the longest."""
    if len(parts) == 1:
        return parts[0]
    joined = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if values[0].ndim > 1:
            width = max(value.shape[1] for value in values)
            values = [_widened(value, width, name, pad_token_id) for value in values]
        joined[name] = torch.cat(values)
    return joined


def take_rows(rows: Rows, index: Tensor | slice, *, multiple: int = 1, cut_prompts: bool = True) -> Rows:
    """The chosen rows, without the columns that no chosen row uses.

    Args:
        rows: ``[B, ...]`` each.
        index: which.
        multiple: widths are rounded up to multiples of this (TRL's ``pad_to_multiple_of``), if they were wider.
        cut_prompts: whether padding on the left goes, too.
    """
    chosen = {name: value[index] for name, value in rows.items()}
    used_left = _used(chosen["prompt_mask"].flip(1), multiple) if "prompt_mask" in chosen else 0
    used_right = _used(chosen["completion_mask"], multiple) if "completion_mask" in chosen else 0
    width = rows["completion_mask"].shape[1] if "completion_mask" in rows else -1
    for name, value in chosen.items():
        if name in LEFT_PADDED:
            chosen[name] = value[:, value.shape[1] - used_left :] if cut_prompts else value
        elif value.ndim > 1 and value.shape[1] == width:
            chosen[name] = value[:, :used_right]
    return chosen


def can_be_taken(rows: Mapping[str, Any]) -> bool:
    """Whether :func:`take_rows` knows all columns: not of images, nor of tensors over prompt and completion at once."""
    widths = {1, rows["completion_ids"].shape[1]}
    return all(
        value is None
        or (isinstance(value, Tensor) and (name in LEFT_PADDED or value.ndim < 2 or value.shape[1] in widths))
        for name, value in rows.items()
    )


def by_length(batches: Sequence[Rows], window: int, **how: Any) -> list[Rows]:
    """The same rows with less padding: sorted by length within each window, each micro-batch cut to its longest row.

    Args:
        batches: micro-batches of one size and width, in the order in which they are trained on. What has no rows,
            numbers and ``None``, stays as it is.
        window: so many micro-batches make one update, so that which of them holds a row changes nothing.
        **how: rows are taken, as in :func:`take_rows`.
    """
    made = []
    for start in range(0, len(batches), window):
        own = batches[start : start + window]
        with_rows = [name for name, value in own[0].items() if isinstance(value, Tensor) and value.ndim]
        joined = {name: torch.cat([batch[name] for batch in own]) for name in with_rows}
        order = joined["completion_mask"].sum(dim=1).argsort(stable=True)
        for batch, index in zip(own, order.split(len(own[0]["completion_mask"])), strict=True):
            made.append({**batch, **take_rows(joined, index, **how)})
    return made


def local_slice(accelerator: Accelerator, total: int) -> slice:
    """Which of ``total`` gathered rows are this rank's."""
    share = total // accelerator.num_processes
    return slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)


def _padding(name: str, pad_token_id: int) -> int:
    return pad_token_id if name in ("prompt_ids", "completion_ids") else 0


def _widened(value: Tensor, width: int, name: str, pad_token_id: int) -> Tensor:
    missing = width - value.shape[1]
    sides = (missing, 0) if name in LEFT_PADDED else (0, missing)
    return pad(value, sides, value=_padding(name, pad_token_id)) if missing else value


def _used(mask: Tensor, multiple: int) -> int:
    """How many leading columns hold a 1 anywhere, up to a multiple; at least 1: no tensor is left without columns."""
    columns = mask.bool().any(dim=0).nonzero()
    used = int(columns.max()) + 1 if columns.numel() else 1
    return min(math.ceil(used / multiple) * multiple, mask.shape[1])
