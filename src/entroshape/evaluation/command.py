"""``entroshape eval``: a model's answers to a task's held-out problems, with what they amount to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from entroshape.checks import begun
from entroshape.evaluation.display import (
    as_json,
    choice_lines,
    grid_as_json,
    grid_table,
    metrics_table,
    next_step,
)
from entroshape.evaluation.evaluator import EvaluationOptions, EvaluationResult, evaluate_sampler
from entroshape.evaluation.grid import Grid, read_grid, write_grid
from entroshape.evaluation.journal import Journal
from entroshape.evaluation.options import EvalConfig, plain
from entroshape.evaluation.sampler import Sampler
from entroshape.evaluation.saved import model_fingerprint, problems_fingerprint, read_evaluation, write_evaluation
from entroshape.evaluation.transformers_sampler import TransformersSampler
from entroshape.evaluation.vllm_sampler import VLLMSampler, require_vllm
from entroshape.methods import Method, success_threshold
from entroshape.models import check_readable, formatted_prompt, load_model, resolve_model
from entroshape.options import compared
from entroshape.tasks import Task, load_task
from entroshape.terminal import text_column
from entroshape.training.config import TrainConfig
from entroshape.training.load import load_run_config
from entroshape.weights.loading import load_mixture


def run_eval(config: EvalConfig, console: Console) -> dict[float, EvaluationResult]:
    """Evaluates at every temperature, prints the metrics, and writes every completion with its verdict.

    Batches and evaluations that are already complete are not repeated.

    Returns:
        The evaluation at each temperature.

    Raises:
        ValueError: the model or the task does not exist, they do not fit together, or the output has other options.
        ImportError: the sampler is not installed.
    """
    if config.engine == "vllm":
        require_vllm()
    config = replace(config, output=str(config.path), success_threshold=_success_threshold(config))
    task = _task(config)
    options = _options(config, task)
    grid = _read(config, options)
    if grid is None:
        # Everything that cannot work is refused before anything is written.
        sampler, tokenizer = _sampler(config)
        # A task that is only for evaluation has no training problems to check.
        check_readable(replace(task, train=task.test), config.model, tokenizer)
        with ExitStack() as stack:
            journals: dict[float, Journal] = {}
            for temperature in config.temperature:
                journals[temperature] = _journal(config, options, temperature)
                stack.callback(journals[temperature].close)
            with begun():
                grid = _evaluated(config, task, sampler, tokenizer, journals, console)
                _write(config, grid, options)
            for journal in journals.values():
                journal.remove()
    else:
        # A kill between writing the file and removing the journals leaves journals.
        for temperature in config.temperature:
            _partial(config, temperature).unlink(missing_ok=True)
        console.print("this evaluation is already complete", soft_wrap=True)
    _show(config, task, grid, options, console)
    return grid


def _show(config: EvalConfig, task: Task, grid: Grid, options: Mapping[str, Any], console: Console) -> None:
    only = next(iter(grid.values())) if len(grid) == 1 else None
    console.print(grid_table(grid) if only is None else metrics_table(only))
    for line in choice_lines(grid):
        console.print(line, soft_wrap=True)
    console.print(f"completions with verdicts: {config.path}", soft_wrap=True)
    most_cut = max(grid.values(), key=lambda result: result.metrics["share_cut"])
    console.print(next_step(most_cut, task.max_completion_length, config.max_completion_length), soft_wrap=True)
    if config.json:
        print(grid_as_json(grid, options, config.path) if only is None else as_json(only, options, config.path))


def _read(config: EvalConfig, options: Mapping[str, Any]) -> dict[float, EvaluationResult] | None:
    if len(config.temperature) > 1:
        return read_grid(config.path, options)
    result = read_evaluation(config.path, options)
    return None if result is None else {config.temperature[0]: result}


def _write(config: EvalConfig, grid: Grid, options: Mapping[str, Any]) -> None:
    if len(grid) > 1:
        write_grid(config.path, grid, options)
    else:
        write_evaluation(config.path, next(iter(grid.values())), options)


def _partial(config: EvalConfig, temperature: float) -> Path:
    """The journal of a temperature."""
    mark = f".T{temperature}" if len(config.temperature) > 1 else ""
    return config.path.with_name(f"{config.path.name}{mark}.partial")


def _trained(config: EvalConfig) -> TrainConfig | None:
    """The options of the run that trained the model, if the model is in the directory of a run."""
    model = Path(config.mixture[0] if config.mixture else config.model)
    saved = re.fullmatch(r"model(-ema)?(-mix-[\d.e-]+)?", model.name)
    run = model.parent if saved else model.parent.parent if model.parent.name == "checkpoints" else None
    if run is None or not (run / "config.yaml").is_file():
        return None
    return load_run_config(run / "config.yaml")


def _success_threshold(config: EvalConfig) -> float:
    """The requested threshold, otherwise that of the run that trained the model, so that both count the same."""
    if config.success_threshold is not None:
        return config.success_threshold
    trained = _trained(config)
    if trained is None:
        return Method.success_threshold
    return success_threshold(trained.method, trained.method_options)


def _task(config: EvalConfig) -> Task:
    """The task with the problems to evaluate on. Fresh ones are not among the training problems of the model's run."""
    trained = _trained(config) if config.fresh is not None else None
    return load_task(
        config.task,
        reward=config.reward,
        train_size=trained.train_size if trained else None,
        test_size=config.problems,
        seed=trained.seed if trained else config.seed,
        training=False,
        fresh=config.fresh,
    )


def _options(config: EvalConfig, task: Task) -> dict[str, Any]:
    """All options that the completions depend on, as plain values."""
    # The device is not among them: on another one, completions come from the same distribution.
    options = {name: plain(getattr(config, name)) for name in compared(config)}
    weights = model_fingerprint(resolve_model(config.model))
    if config.mixture:
        options["weights of the mixed model"] = model_fingerprint(resolve_model(config.mixture[0]))
    return {**options, "weights of the model": weights, "problems of the task": problems_fingerprint(task)}


def _journal(config: EvalConfig, options: Mapping[str, Any], temperature: float) -> Journal:
    return Journal(_partial(config, temperature), {**options, "temperature": temperature})


def _evaluated(
    config: EvalConfig,
    task: Task,
    sampler: Sampler,
    tokenizer: Any,
    journals: Mapping[float, Journal],
    console: Console,
) -> dict[float, EvaluationResult]:
    done = sum(len(batch) for journal in journals.values() for batch in journal.batches)
    if done:
        console.print(f"resuming after {done} completions", soft_wrap=True)
    options = {temperature: _sampling(config, temperature) for temperature in journals}
    total = len(task.test) * sum(each.distinct_samples for each in options.values())
    columns = (text_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    grid: dict[float, EvaluationResult] = {}
    with Progress(*columns, text_column("eta"), TimeRemainingColumn(), console=console) as bar:
        answers = bar.add_task("completions", total=total)
        for temperature, journal in journals.items():
            before = sum(len(result.rows) for result in grid.values())

            def progress(now: int, of: int, before: int = before) -> None:
                bar.update(answers, completed=before + now)

            grid[temperature] = evaluate_sampler(
                sampler,
                task,
                options[temperature],
                progress=progress,
                prompt_formatter=lambda prompt: formatted_prompt(prompt, task, tokenizer),
                answers=True,
                journal=journal,
            )
    return grid


def _sampling(config: EvalConfig, temperature: float) -> EvaluationOptions:
    """The options of sampling. The number of problems is already limited by the task."""
    return EvaluationOptions(
        samples=config.samples,
        max_new_tokens=config.max_completion_length,
        temperature=temperature,
        batch_size=config.batch_size,
        seed=config.seed,
        success_threshold=_success_threshold(config),
    )


def _sampler(config: EvalConfig) -> tuple[Sampler, Any]:
    """The sampler and its tokenizer."""
    if config.engine == "vllm":
        sampler = VLLMSampler(resolve_model(config.model), precision=config.precision)
        return sampler, sampler.tokenizer
    model, tokenizer = load_mixture(config.model, *config.mixture) if config.mixture else load_model(config.model)
    on_accelerator = config.device == "auto" and torch.accelerator.is_available()
    device = torch.accelerator.current_accelerator() if on_accelerator else "cpu"
    return TransformersSampler(model.to(device, dtype=getattr(torch, config.precision)), tokenizer), tokenizer
