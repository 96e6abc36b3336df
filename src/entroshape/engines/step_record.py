"""The rollouts of a step with their credit, for logging and viewing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from entroshape.methods import Credit


@dataclass(frozen=True, eq=False)
class StepRecord:
    """The rollouts of one step, from all ranks, as used in training. ``B`` completions, ``T`` token positions."""

    step: int
    """Number of the step, counted from 1."""

    update: int
    """Number of optimizer updates before this step (TRL's ``global_step``)."""

    prompts: Sequence[Any]
    """``B`` prompts, as in the dataset."""

    completions: Sequence[Any]
    """``B`` completions: text, or messages for conversational prompts."""

    token_ids: Tensor
    """``[B, T]`` completion tokens."""

    mask: Tensor
    """``[B, T]`` bool, the completions' own tokens."""

    group: Tensor
    """``[B]`` ids of the prompts within the step."""

    rewards: Tensor
    """``[B]`` raw rewards; NaN if a completion has none."""

    entropies: Tensor | None
    """``[B, T]`` entropies of the sampling policy in nats; ``None`` if the method does not need them and they were not
    recorded."""

    credit: Credit
    """The credit that the method assigned."""
