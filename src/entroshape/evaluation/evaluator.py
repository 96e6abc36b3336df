"""Evaluates a model on a task's held-out problems: samples completions, scores them, computes metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entroshape.checks import check_integer, check_number
from entroshape.credit.sets import is_success
from entroshape.evaluation.journal import Journal
from entroshape.evaluation.sampler import Batch, Progress, Prompt, SampledCompletion, Sampler, plan_batches
from entroshape.evaluation.transformers_sampler import TransformersSampler
from entroshape.metrics.aggregation import evaluation_metrics
from entroshape.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Scored = dict[str, Any]
"""A completion with its verdict: the columns of a row that do not describe the problem."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationResult:
    """Every completion with its verdict, and the metrics."""

    rows: list[dict[str, Any]]
    """One row per completion, with problems in the task's order: ``problem`` (its id), ``sample``, ``prompt``,
    ``completion``, ``reward``, ``success``, ``length`` (in tokens), ``cut`` (at the limit), ``entropy`` (mean over
    tokens in nats, if the sampler knows it), and ``answer`` (the final answer, empty if there is none; only if
    requested and if the task has final answers)."""

    metrics: dict[str, float]
    """See :func:`entroshape.metrics.aggregation.evaluation_metrics`."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Options that the completions of an evaluation depend on, in addition to the model and the task.

    Raises:
        ValueError: a value is out of range.
    """

    samples: int = 16
    """Completions per problem: the ``n`` of Mean@n, and Pass@k for ``k`` up to ``n``."""

    problems: int | None = None
    """Evaluate only the first N problems; ``None``: all."""

    max_new_tokens: int | None = None
    """Maximum completion length in tokens; ``None``: the task's default."""

    temperature: float = 1.0
    """Sampling temperature. At 0, greedy decoding, one completion per problem is sampled, because all are equal."""

    batch_size: int = 256
    """Completions sampled and scored at a time."""

    seed: int = 0
    """Random seed for all draws."""

    success_threshold: float = 0.5
    """A completion is a success if its reward is above this threshold: that of the method, if there is one."""

    def __post_init__(self) -> None:
        for name in ("problems", "samples", "max_new_tokens", "batch_size"):
            value = getattr(self, name)
            if not (value is None and name in ("problems", "max_new_tokens")):
                check_integer(name, value, minimum=1)
        check_number("temperature", self.temperature, minimum=0.0)
        check_number("success_threshold", self.success_threshold)

    @property
    def distinct_samples(self) -> int:
        """Completions to sample per problem: one under greedy decoding."""
        return self.samples if self.temperature else 1


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
    success_threshold: float = 0.5,
    progress: Progress | None = None,
    prompt_formatter: Callable[[str], Prompt] | None = None,
) -> EvaluationResult:
    """Samples completions for ``task.test``, scores them with the task's reward, and computes Mean@n and Pass@k.

    Neither the global random state nor the model's training mode is changed, so this can run during training.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        task: the task; its ``test`` problems are used.
        samples: completions per problem, the ``n`` of Mean@n.
        problems: evaluate only the first N problems; ``None``: all.
        max_new_tokens: maximum completion length in tokens; ``None``: the task's default.
        temperature: sampling temperature; at 0, greedy decoding, there is one completion per problem.
        batch_size: completions sampled at a time.
        seed: random seed for all draws.
        success_threshold: a completion is a success if its reward is above this threshold, as in
            :meth:`entroshape.Method.is_success`.
        progress: called with the number of completions so far, and the total.
        prompt_formatter: formats a problem as a prompt for the model; ``None``: the plain problem.

    Returns:
        All rows, and their metrics.

    Raises:
        ValueError: an option is out of range, or the reward function does not return one finite number per completion.
        RuntimeError: the reward function raised an error; the message names the function.
    """
    options = EvaluationOptions(
        samples=samples,
        problems=problems,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        batch_size=batch_size,
        seed=seed,
        success_threshold=success_threshold,
    )
    sampler = TransformersSampler(model, tokenizer)
    return evaluate_sampler(sampler, task, options, progress=progress, prompt_formatter=prompt_formatter)


def evaluate_sampler(
    sampler: Sampler,
    task: Task,
    options: EvaluationOptions,
    *,
    progress: Progress | None = None,
    prompt_formatter: Callable[[str], Prompt] | None = None,
    answers: bool = False,
    journal: Journal | None = None,
) -> EvaluationResult:
    """:func:`evaluate` with any sampler. Each batch is sampled and scored before the next.

    Args:
        sampler: the sampler.
        task: the task; its ``test`` problems are used.
        options: options of sampling.
        progress: called with the number of completions so far, and the total.
        prompt_formatter: formats a problem as a prompt for the model; ``None``: the plain problem.
        answers: whether to keep the final answers, for majority@n, if the task has them.
        journal: has the finished batches, which are not sampled again. All further batches are added to it.

    Raises:
        ValueError: as for :func:`evaluate`, or the batches of the journal do not match these options.
        RuntimeError: as for :func:`evaluate`.
    """
    test = _test_problems(task, options.problems)
    token_ids = sampler.tokenize([prompt_formatter(text) if prompt_formatter else text for text in test["prompt"]])
    samples = options.distinct_samples
    batches = plan_batches(
        [len(ids) for ids in token_ids], samples=samples, batch_size=options.batch_size, seed=options.seed
    )
    finished = _finished(journal, batches) if journal is not None else []
    score = _scorer(task, test, success_threshold=options.success_threshold, with_answers=answers)
    limit = task.max_completion_length if options.max_new_tokens is None else options.max_new_tokens
    of_problem: list[list[Scored]] = [[] for _ in token_ids]
    for number, batch in enumerate(batches):
        if number < len(finished):
            scored = finished[number]
        else:
            prompts = [token_ids[i] for i in batch.prompts]
            sampled = sampler.sample(prompts, max_new_tokens=limit, temperature=options.temperature, seed=batch.seed)
            scored = score(batch, sampled)
            if journal is not None:
                journal.append(scored)
        for i, answer in zip(batch.prompts, scored, strict=True):
            of_problem[i].append(answer)
        if progress is not None:
            progress(sum(map(len, of_problem)), len(token_ids) * samples)
    return _result(test, of_problem)


def _finished(journal: Journal, batches: Sequence[Batch]) -> list[list[Scored]]:
    """The batches of the journal, which must be the first of the plan."""
    sizes = [len(scored) for scored in journal.batches]
    if sizes != [len(batch.prompts) for batch in batches[: len(sizes)]]:
        raise ValueError(f"the batches of the journal must match these options; got {len(sizes)} with different sizes")
    return list(journal.batches)


def _result(test: Mapping[str, Sequence[Any]], of_problem: Sequence[Sequence[Scored]]) -> EvaluationResult:
    rows = [
        {"problem": name, "sample": place, "prompt": prompt, **answer}
        for name, prompt, scored in zip(test["id"], test["prompt"], of_problem, strict=True)
        for place, answer in enumerate(scored)
    ]
    return EvaluationResult(rows=rows, metrics=evaluation_metrics(rows))


def _test_problems(task: Task, problems: int | None) -> dict[str, list[Any]]:
    """The columns of the test problems."""
    test = task.test if problems is None else task.test.select(range(min(problems, len(task.test))))
    repeated = [name for name, count in Counter(test["id"]).items() if count > 1]
    if repeated:
        raise ValueError(f"id of {task.name!r}'s test problems must be unique; got {repeated[0]!r} more than once")
    return {name: list(test[name]) for name in test.column_names}


def _scorer(
    task: Task, test: Mapping[str, Sequence[Any]], *, success_threshold: float, with_answers: bool
) -> Callable[[Batch, Sequence[SampledCompletion]], list[Scored]]:
    """Returns a function that scores a batch of completions."""
    keep_answers = with_answers and task.verdicts is not None

    def score(batch: Batch, completions: Sequence[SampledCompletion]) -> list[Scored]:
        columns = {name: [values[i] for i in batch.prompts] for name, values in test.items()}
        texts = [completion.text for completion in completions]
        verdicts = task.verify(columns.pop("prompt"), texts, **columns)
        successes = is_success([verdict.reward for verdict in verdicts], success_threshold).tolist()
        rows = zip(completions, verdicts, successes, strict=True)
        return [
            _scored(completion, verdict.reward, success) | ({"answer": verdict.answer or ""} if keep_answers else {})
            for completion, verdict, success in rows
        ]

    return score


def _scored(completion: SampledCompletion, reward: float, success: bool) -> Scored:
    row: Scored = {
        "completion": completion.text,
        "reward": reward,
        "success": success,
        "length": completion.length,
        "cut": completion.cut,
    }
    return row if completion.entropy is None else {**row, "entropy": completion.entropy}
