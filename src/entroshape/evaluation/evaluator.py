"""Evaluate a model on a task's held-out problems: sample, score, count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from entroshape.evaluation.sampling import Progress, Prompt, sample_completions
from entroshape.evaluation.table import evaluation_metrics
from entroshape.tasks import Task, checked_reward

SUCCESS_THRESHOLD = 0.5
"""A reward above this is a success."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """Every answer with its verdict, and what they amount to."""

    rows: list[dict[str, Any]]
    """One a response, problems in the task's order: ``problem`` (its id), ``sample``, ``prompt``, ``completion``,
    ``reward``, ``success``, ``length`` (tokens), ``cut`` (at the limit), ``entropy`` (mean nats a token)."""

    metrics: dict[str, float]
    """See :func:`entroshape.evaluation.table.evaluation_metrics`."""


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    *,
    samples: int = 16,
    problems: int | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
    prompt_formatter: Callable[[str], Prompt] | None = None,
) -> EvaluationResult:
    """Samples answers to ``task.test``, scores them with the task's reward, and computes Mean@n and Pass@k.

    Neither the global random state nor the model's training mode is changed: it may run in the middle of training.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        task: its ``test`` problems are used.
        samples: answers a problem, ``n`` of Mean@n and Pass@k.
        problems: only so many of the first problems; ``None``: all.
        max_new_tokens: limit of an answer; ``None``: the task's.
        temperature: of sampling.
        batch_size: responses sampled at a time.
        seed: of all draws.
        progress: called with the responses sampled so far and their total.
        prompt_formatter: turns a problem's prompt into what the model reads; ``None``: the plain prompt.

    Returns:
        All rows, and the metrics over them.

    Raises:
        ValueError: an option out of range; a reward function that returns anything but one finite number a completion.
        RuntimeError: a reward function that raises; it is named.
    """
    if problems is not None and (isinstance(problems, bool) or not isinstance(problems, int) or problems < 1):
        raise ValueError(f"problems must be a positive int or None; got {problems!r}")
    test = task.test if problems is None else task.test.select(range(min(problems, len(task.test))))
    repeated = [name for name, count in Counter(test["id"]).items() if count > 1]
    if repeated:
        raise ValueError(f"id of {task.name!r}'s test problems must be unique; got {repeated[0]!r} more than once")
    texts = test["prompt"]
    completions = sample_completions(
        model,
        tokenizer,
        [prompt_formatter(text) if prompt_formatter else text for text in texts],
        samples=samples,
        max_new_tokens=max_new_tokens or task.max_completion_length,
        temperature=temperature,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    columns = {name: [value for value in test[name] for _ in range(samples)] for name in test.column_names}
    answers = [answer for of_problem in completions for answer in of_problem]
    rest = {name: values for name, values in columns.items() if name != "prompt"}
    reward = checked_reward(task.reward, task.reward.__name__)
    rewards = reward(columns["prompt"], [answer.text for answer in answers], **rest)
    rows = [
        {
            "problem": problem,
            "sample": i % samples,
            "prompt": prompt,
            "completion": answer.text,
            "reward": reward,
            "success": reward > SUCCESS_THRESHOLD,
            "length": answer.length,
            "cut": answer.cut,
            "entropy": answer.entropy,
        }
        for i, (problem, prompt, answer, reward) in enumerate(
            zip(columns["id"], columns["prompt"], answers, rewards, strict=True)
        )
    ]
    return EvaluationResult(rows=rows, metrics=evaluation_metrics(rows))
