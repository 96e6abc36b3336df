"""What a step leaves for people to look at: its rollouts with their credit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from entroshape.methods import Credit


@dataclass(frozen=True, eq=False)
class StepRecord:
    """The rollouts of one step, of all ranks, as they were trained on. ``B`` responses, ``T`` token positions."""

    step: int
    """Which sampled batch of the run this is, from 1: a step as entroshape counts them."""

    update: int
    """How many optimizer updates came before (TRL's ``global_step``)."""

    prompts: Sequence[Any]
    """``B`` prompts, as in the dataset."""

    completions: Sequence[Any]
    """``B`` completions: text, or messages for conversational prompts."""

    token_ids: Tensor
    """``[B, T]`` completion tokens."""

    mask: Tensor
    """``[B, T]`` bool: a response's own tokens."""

    group: Tensor
    """``[B]`` ids of the prompts within the step."""

    rewards: Tensor
    """``[B]`` raw rewards; NaN where no reward function could tell."""

    entropies: Tensor | None
    """``[B, T]`` nats, of the sampling policy; ``None`` where the method needs none and none came for free."""

    credit: Credit
    """What the method made of them."""
