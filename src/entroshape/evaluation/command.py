"""``entroshape eval``: a model's answers to a task's held-out problems, with what they amount to."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from entroshape.credit._check import check_choice, check_number
from entroshape.evaluation.engine import Engine, check_count
from entroshape.evaluation.evaluator import EvaluationOptions, EvaluationResult, evaluate_engine
from entroshape.evaluation.journal import Journal
from entroshape.evaluation.sampling import TransformersEngine
from entroshape.evaluation.saved import model_fingerprint, problems_fingerprint, read_evaluation, write_evaluation
from entroshape.evaluation.shown import as_json, metrics_table, next_step
from entroshape.evaluation.vllm_engine import VLLMEngine, require_vllm
from entroshape.models import check_readable, formatted_prompt, load_model, resolve_model
from entroshape.tasks import Task, load_task

EngineName = Literal["transformers", "vllm"]
Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu"]

NOT_OF_THE_ANSWERS = ("output", "json", "device")
"""Options that the answers do not depend on. On another device they come out of the same distribution."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Sample answers to a task's held-out problems and count: Mean@n, Pass@k, majority@n, length, entropy, intervals.

    Every answer is kept with its verdict. The same command goes on where it was stopped, at most a batch behind;
    once it is done, it shows what it found.

    entroshape eval --model Qwen/Qwen2.5-1.5B-Instruct --task math:math500 --samples 4 --max-completion-length 2048
    """

    model: str = "countdown-tiny"
    """A hub id, a local directory (such as a run's model/, adapters too), or countdown-tiny (bundled)."""

    task: str = "countdown"
    """math:aime24, math:aime25, math:math500 or math:gsm8k (from the hub; with ?from=DIR from a copy of its
    repository), jsonl:PATH?split=test (all lines; without ?split=test the tenth that training holds out), countdown,
    reasoning_gym:NAME, or my_module:my_task."""

    reward: str | None = None
    """Your own verifier, my_module:my_reward, instead of the task's."""

    samples: int = 16
    """Answers a problem: n of Mean@n, Pass@k for k up to n, and majority@n."""

    problems: int | None = None
    """At most so many problems. None: all of a benchmark or a test file, 256 where problems are made or held out."""

    temperature: float = 1.0
    """Of sampling, from the whole distribution."""

    max_completion_length: int | None = None
    """Limit of an answer in tokens. None: the task's suggestion."""

    batch_size: int = 256
    """Answers sampled and scored at a time; a kill loses at most so many. Fewer take less memory."""

    engine: EngineName = "transformers"
    """transformers; or vllm, where it is installed: faster on a GPU, without entropies."""

    precision: Precision = "float32"
    """Of weights and arithmetic."""

    device: Device = "auto"
    """auto: an accelerator if there is one."""

    seed: int = 0
    """Of all draws."""

    output: str | None = None
    """A .parquet file for every answer with its verdict. None: eval/TASK-MODEL-SEED.parquet."""

    json: bool = False
    """Write the figures to standard output as JSON, Pass@k for every k among them, and all else to standard error."""

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "problems", "max_completion_length"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name, kind in (("engine", EngineName), ("precision", Precision), ("device", Device)):
            check_choice(name, getattr(self, name), get_args(kind))
        check_number("temperature", self.temperature, minimum=0.0, exclusive=True)
        if self.output is not None and not self.output.endswith(".parquet"):
            raise ValueError(f"output must be a .parquet file; got {self.output!r}")
        if self.engine == "vllm" and self.device == "cpu":
            raise ValueError("device is chosen by vLLM itself: leave out --device with --engine vllm; got 'cpu'")

    @property
    def path(self) -> Path:
        """Where the answers go."""
        if self.output is not None:
            return Path(self.output)
        name = re.sub(r"[^\w.]+", "-", f"{self.task}-{self.model}-{self.seed}", flags=re.ASCII).strip("-.")
        return Path("eval") / f"{name}.parquet"

    @property
    def sampling(self) -> EvaluationOptions:
        """The options of sampling; the task has as many problems as are asked for already."""
        return EvaluationOptions(
            samples=self.samples,
            max_new_tokens=self.max_completion_length,
            temperature=self.temperature,
            batch_size=self.batch_size,
            seed=self.seed,
        )


def parse_eval(arguments: list[str]) -> EvalConfig:
    """The options of ``entroshape eval`` from a command line."""
    return tyro.cli(EvalConfig, prog="entroshape eval", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def run_eval(config: EvalConfig, console: Console) -> EvaluationResult:
    """Evaluates, shows the metrics and writes every answer with its verdict.

    What a stopped call of the same options has done is not done again; nor is a whole evaluation.

    Raises:
        ValueError: a model or task that is not there, or do not go together; an output of other options.
        ImportError: an engine that is not installed.
    """
    if config.engine == "vllm":
        require_vllm()
    task = load_task(config.task, reward=config.reward, test_size=config.problems, seed=config.seed, training=False)
    options = _options(config, task)
    journal_path = config.path.with_name(f"{config.path.name}.partial")
    result = read_evaluation(config.path, options)
    if result is None:
        journal = Journal(journal_path, options)
        try:
            result = _evaluated(config, task, journal, console)
            write_evaluation(config.path, result, options)
            journal.remove()
        finally:
            journal.close()
    else:
        # What a kill between the last two steps leaves.
        journal_path.unlink(missing_ok=True)
        console.print("this evaluation is done already", soft_wrap=True)
    console.print(metrics_table(result))
    console.print(f"every answer with its verdict: {config.path}", soft_wrap=True)
    console.print(next_step(result, task.max_completion_length, config.max_completion_length), soft_wrap=True)
    if config.json:
        print(as_json(result, options, config.path))
    return result


def _options(config: EvalConfig, task: Task) -> dict[str, Any]:
    """All that the answers depend on, as plain values."""
    options = {name: value for name, value in asdict(config).items() if name not in NOT_OF_THE_ANSWERS}
    weights = model_fingerprint(resolve_model(config.model))
    return {**options, "weights of the model": weights, "problems of the task": problems_fingerprint(task)}


def _evaluated(config: EvalConfig, task: Task, journal: Journal, console: Console) -> EvaluationResult:
    engine, tokenizer = _engine(config)
    # A task for evaluation alone has no training problems to look at.
    check_readable(replace(task, train=task.test), config.model, tokenizer)
    if journal.batches:
        done = sum(map(len, journal.batches))
        console.print(f"going on behind {done} answers that are there already", soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("eta"), TimeRemainingColumn(), console=console) as bar:
        answers = bar.add_task("answers", total=len(task.test) * config.samples)
        return evaluate_engine(
            engine,
            task,
            config.sampling,
            progress=lambda done, total: bar.update(answers, completed=done, total=total),
            prompt_formatter=lambda prompt: formatted_prompt(prompt, task, tokenizer),
            answers=True,
            journal=journal,
        )


def _engine(config: EvalConfig) -> tuple[Engine, Any]:
    """The engine, and the tokenizer that it reads with."""
    if config.engine == "vllm":
        engine = VLLMEngine(resolve_model(config.model), precision=config.precision)
        return engine, engine.tokenizer
    model, tokenizer = load_model(config.model)
    on_accelerator = config.device == "auto" and torch.accelerator.is_available()
    device = torch.accelerator.current_accelerator() if on_accelerator else "cpu"
    return TransformersEngine(model.to(device, dtype=getattr(torch, config.precision)), tokenizer), tokenizer
