"""Builds a task that math-verify scores from problems with reference answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from entroshape.tasks.base import Task, optional_module
from entroshape.tasks.math_verifier import INSTRUCTION, MathReward


@dataclass(frozen=True)
class Row:
    """One problem and its reference answer."""

    id: str
    problem: str
    answer: str


def problem_task(
    name: str, train: Sequence[Row], test: Sequence[Row], *, train_size: int | None, seed: int, length: int
) -> Task:
    """Builds the task from ``test`` and from ``train_size`` problems of ``train``, drawn with ``seed``.

    Columns: ``id``, ``prompt``, ``answer``. ``length`` is the suggested limit of a completion, in tokens.
    """
    if train_size is not None and train_size < len(train):
        chosen = sorted(Random(seed).sample(range(len(train)), train_size))
        train = [train[place] for place in chosen]
    reward = MathReward()
    return Task(
        name=name,
        train=_dataset(train),
        test=_dataset(test),
        reward=reward,
        max_completion_length=length,
        instruction=INSTRUCTION,
        verdicts=reward.verdicts,
    )


def _dataset(rows: Sequence[Row]) -> Any:
    return optional_module("datasets").Dataset.from_dict(
        {
            "id": [row.id for row in rows],
            "prompt": [row.problem for row in rows],
            "answer": [row.answer for row in rows],
        }
    )
