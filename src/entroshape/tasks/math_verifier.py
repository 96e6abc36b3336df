"""Rewards for mathematics: math-verify compares the boxed answer with the reference, out of the trainer's process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entroshape.tasks.base import Completion, Verdict, completion_text, require_package
from entroshape.tasks.workers import ScoringPool

INSTRUCTION = r"Reason step by step, and put your final answer within \boxed{}."
WINDOW = 5000
"""Characters of a completion that are looked at: more than any answer, little enough for regular expressions."""


class MathReward:
    r"""1 if the answer of a completion equals ``answer`` by math-verify, else 0: a reward function for trainers.

    The answer of a completion is its last ``\boxed{...}`` (boxes side by side are one answer, a set); without one, what
    math-verify finds instead: "the final answer is ...", LaTeX between dollars, the last number. LaTeX that does not
    parse costs its own point; so does an answer that SymPy cannot handle in ``time_limit`` seconds or within
    ``memory_limit``, with a logged warning.

    Args:
        workers: processes; by default one a CPU core, at most 8. They start at the first call.
        time_limit: seconds an answer.
        memory_limit: bytes a process may take beyond what SymPy takes (Linux only).

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
        """The rewards, one a completion."""
        return self._pool.score(_jobs(completions, answer))

    def verdicts(
        self, prompts: Sequence[Any], completions: Sequence[Completion], *, answer: Sequence[str], **columns: Any
    ) -> list[Verdict]:
        """The rewards with the answers that were compared: a right one is written as the reference, whatever its form.

        A completion without an answer, or with one that cannot be judged within the limits, has none.
        """
        jobs = [{**job, "answer": True} for job in _jobs(completions, answer)]
        return [Verdict(judgement.score, judgement.answer) for judgement in self._pool.judge(jobs)]

    def close(self) -> None:
        """End the processes. The next call starts new ones."""
        self._pool.close()


def _jobs(completions: Sequence[Completion], answer: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"gold": gold, "text": answer_window(completion_text(completion))}
        for gold, completion in zip(answer, completions, strict=True)
    ]


def answer_window(text: str) -> str:
    r"""The part of a long completion that holds its answer: the end, or what begins at the last ``\boxed``.

    Example:
        >>> answer_window(r"\boxed{7}" + " " * 100_000)[:9]
        '\\boxed{7}'
    """
    start = max(0, len(text) - WINDOW)
    boxed = text.rfind("\\boxed")
    if 0 <= boxed < start:
        start = boxed
    return text[start : start + WINDOW]
