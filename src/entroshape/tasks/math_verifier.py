"""Rewards for mathematics: math-verify compares final answer and reference answer, outside the trainer's process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entroshape.tasks.base import Completion, Verdict, completion_text, require_package
from entroshape.tasks.workers import ScoringPool

INSTRUCTION = r"Reason step by step, and put your final answer within \boxed{}."
WINDOW = 5000
"""Number of characters of a completion that are searched: more than any answer, few enough for regular expressions."""


class MathReward:
    r"""A reward function: 1 if the final answer of a completion equals ``answer`` by math-verify, otherwise 0.

    The final answer of a completion is its last ``\boxed{...}`` (adjacent boxes are one answer, a set). Without a box,
    it is what math-verify finds instead: "the final answer is ...", LaTeX between dollars, or the last number. LaTeX
    that cannot be parsed gets reward 0. So does an answer that SymPy cannot handle within ``time_limit`` and
    ``memory_limit``, with a logged warning.

    Args:
        workers: number of processes; by default one per CPU core, at most 8. They start at the first call.
        time_limit: time limit in seconds per completion.
        memory_limit: memory limit per process in bytes, in addition to SymPy's own (Linux only).

    Example:
        >>> reward = MathReward(workers=1)
        >>> reward(["1/4 + 1/4?"] * 2, [r"It is \boxed{0.5}", "One third"], answer=[r"\frac{1}{2}"] * 2)
        [1.0, 0.0]
        >>> reward.close()
    """

    __name__ = "math_reward"

    def __init__(self, *, workers: int | None = None, time_limit: float = 5.0, memory_limit: int = 1 << 30) -> None:
        require_package("math_verify")
        self._pool = ScoringPool("math", workers=workers, time_limit=time_limit, memory_limit=memory_limit)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Completion], *, answer: Sequence[str], **columns: Any
    ) -> list[float]:
        """The rewards, one per completion."""
        return self._pool.score(_jobs(completions, answer))

    def verdicts(
        self, prompts: Sequence[Any], completions: Sequence[Completion], *, answer: Sequence[str], **columns: Any
    ) -> list[Verdict]:
        """The rewards together with the final answers. A correct answer is given in the form of the reference answer.

        The answer is ``None`` if the completion has none, or one that cannot be judged within the limits.
        """
        jobs = [{**job, "answer": True} for job in _jobs(completions, answer)]
        return [Verdict(judgement.score, judgement.answer) for judgement in self._pool.judge(jobs)]

    def close(self) -> None:
        """Ends the processes. The next call starts new ones."""
        self._pool.close()


def _jobs(completions: Sequence[Completion], answer: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"gold": gold, "text": answer_window(completion_text(completion))}
        for gold, completion in zip(answer, completions, strict=True)
    ]


def answer_window(text: str) -> str:
    r"""The part of a long completion that contains the final answer: its end, or the part after the last ``\boxed``.

    Example:
        >>> answer_window(r"\boxed{7}" + " " * 100_000)[:9]
        '\\boxed{7}'
    """
    start = max(0, len(text) - WINDOW)
    boxed = text.rfind("\\boxed")
    if 0 <= boxed < start:
        start = boxed
    return text[start : start + WINDOW]
