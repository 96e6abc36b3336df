"""``entroshape eval``: a model's answers to a task's held-out problems, with what they amount to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from entroshape.checks import begun
from entroshape.evaluation.display import as_json, metrics_table, next_step
from entroshape.evaluation.evaluator import EvaluationOptions, EvaluationResult, evaluate_sampler
from entroshape.evaluation.journal import Journal
from entroshape.evaluation.options import EvalConfig
from entroshape.evaluation.sampler import Sampler
from entroshape.evaluation.saved import model_fingerprint, problems_fingerprint, read_evaluation, write_evaluation
from entroshape.evaluation.transformers_sampler import TransformersSampler
from entroshape.evaluation.vllm_sampler import VLLMSampler, require_vllm
from entroshape.methods import Method, build_method
from entroshape.models import check_readable, formatted_prompt, load_model, resolve_model
from entroshape.options import compared
from entroshape.tasks import Task, load_task
from entroshape.terminal import text_column
from entroshape.training.load import load_run_config


def run_eval(config: EvalConfig, console: Console) -> EvaluationResult:
    """Evaluates, prints the metrics, and writes every completion with its verdict.

    Batches and evaluations that are already complete are not repeated.

    Raises:
        ValueError: the model or the task does not exist, they do not fit together, or the output has other options.
        ImportError: the sampler is not installed.
    """
    if config.engine == "vllm":
        require_vllm()
    config = replace(config, output=str(config.path), success_threshold=_success_threshold(config))
    task = load_task(config.task, reward=config.reward, test_size=config.problems, seed=config.seed, training=False)
    options = _options(config, task)
    journal_path = config.path.with_name(f"{config.path.name}.partial")
    result = read_evaluation(config.path, options)
    if result is None:
        # Everything that cannot work is refused before anything is written.
        sampler, tokenizer = _sampler(config)
        # A task that is only for evaluation has no training problems to check.
        check_readable(replace(task, train=task.test), config.model, tokenizer)
        journal = Journal(journal_path, options)
        try:
            with begun():
                result = _evaluated(config, task, sampler, tokenizer, journal, console)
                write_evaluation(config.path, result, options)
            journal.remove()
        finally:
            journal.close()
    else:
        # A kill between writing the file and removing the journal leaves the journal.
        journal_path.unlink(missing_ok=True)
        console.print("this evaluation is already complete", soft_wrap=True)
    console.print(metrics_table(result))
    console.print(f"completions with verdicts: {config.path}", soft_wrap=True)
    console.print(next_step(result, task.max_completion_length, config.max_completion_length), soft_wrap=True)
    if config.json:
        print(as_json(result, options, config.path))
    return result


def _success_threshold(config: EvalConfig) -> float:
    """The requested threshold, otherwise that of the run that trained the model, so that both count the same."""
    if config.success_threshold is not None:
        return config.success_threshold
    model = Path(config.model)
    run = model.parent if model.name == "model" else model.parent.parent if model.parent.name == "checkpoints" else None
    if run is None or not (run / "config.yaml").is_file():
        return Method.success_threshold
    trained = load_run_config(run / "config.yaml")
    return build_method(trained.method, trained.method_options).success_threshold


def _options(config: EvalConfig, task: Task) -> dict[str, Any]:
    """All options that the completions depend on, as plain values."""
    # The device is not among them: on another one, completions come from the same distribution.
    options = {name: getattr(config, name) for name in compared(config)}
    weights = model_fingerprint(resolve_model(config.model))
    return {**options, "weights of the model": weights, "problems of the task": problems_fingerprint(task)}


def _evaluated(
    config: EvalConfig, task: Task, sampler: Sampler, tokenizer: Any, journal: Journal, console: Console
) -> EvaluationResult:
    if journal.batches:
        done = sum(map(len, journal.batches))
        console.print(f"resuming after {done} completions", soft_wrap=True)
    columns = (text_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, text_column("eta"), TimeRemainingColumn(), console=console) as bar:
        answers = bar.add_task("completions", total=len(task.test) * config.samples)
        return evaluate_sampler(
            sampler,
            task,
            _sampling(config),
            progress=lambda done, total: bar.update(answers, completed=done, total=total),
            prompt_formatter=lambda prompt: formatted_prompt(prompt, task, tokenizer),
            answers=True,
            journal=journal,
        )


def _sampling(config: EvalConfig) -> EvaluationOptions:
    """The options of sampling. The number of problems is already limited by the task."""
    return EvaluationOptions(
        samples=config.samples,
        max_new_tokens=config.max_completion_length,
        temperature=config.temperature,
        batch_size=config.batch_size,
        seed=config.seed,
        success_threshold=_success_threshold(config),
    )


def _sampler(config: EvalConfig) -> tuple[Sampler, Any]:
    """The sampler and its tokenizer."""
    if config.engine == "vllm":
        sampler = VLLMSampler(resolve_model(config.model), precision=config.precision)
        return sampler, sampler.tokenizer
    model, tokenizer = load_model(config.model)
    on_accelerator = config.device == "auto" and torch.accelerator.is_available()
    device = torch.accelerator.current_accelerator() if on_accelerator else "cpu"
    return TransformersSampler(model.to(device, dtype=getattr(torch, config.precision)), tokenizer), tokenizer
