"""``entroshape eval``: a model's answers to a task's held-out problems, with what they amount to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from entroshape.credit._check import check_number
from entroshape.evaluation.evaluator import EvaluationResult, evaluate
from entroshape.models import check_readable, formatted_prompt, load_model
from entroshape.runs.files import json_line
from entroshape.runs.tables import EVALUATION_SCHEMA, write_table
from entroshape.tasks import load_task


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Sample answers to a task's held-out problems, and count: Mean@n, Pass@k, length, entropy, with intervals."""

    model: str = "countdown-tiny"
    """A hub id, a local directory (such as a run's model/, adapters too), or countdown-tiny (bundled)."""

    task: str = "countdown"
    """countdown, reasoning_gym:NAME, jsonl:PATH, or my_module:my_task."""

    reward: str | None = None
    """Your own verifier, my_module:my_reward, instead of the task's."""

    samples: int = 16
    """Answers a problem, n of Mean@n and Pass@k."""

    problems: int = 256
    """At most so many problems."""

    temperature: float = 1.0
    """Of sampling, from the whole distribution."""

    max_completion_length: int | None = None
    """Limit of an answer in tokens. None: the task's suggestion."""

    batch_size: int = 256
    """Answers sampled at a time."""

    seed: int = 0
    """Of all draws."""

    output: str | None = None
    """A .parquet file for every answer with its verdict. None: evaluations/TASK-MODEL-SEED.parquet."""

    def __post_init__(self) -> None:
        for name in ("samples", "problems", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
        check_number("temperature", self.temperature, minimum=0.0, exclusive=True)
        if self.output is not None and not self.output.endswith(".parquet"):
            raise ValueError(f"output must be a .parquet file; got {self.output!r}")

    @property
    def path(self) -> Path:
        """Where the answers go."""
        if self.output is not None:
            return Path(self.output)
        name = re.sub(r"[^\w.]+", "-", f"{self.task}-{self.model}-{self.seed}", flags=re.ASCII).strip("-.")
        return Path("evaluations") / f"{name}.parquet"


def parse_eval(arguments: list[str]) -> EvalConfig:
    """The options of ``entroshape eval`` from a command line."""
    return tyro.cli(EvalConfig, prog="entroshape eval", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def run_eval(config: EvalConfig, console: Console) -> EvaluationResult:
    """Evaluates, shows the metrics and writes every answer with its verdict.

    Raises:
        ValueError: a model or task that is not there, or do not go together.
    """
    task = load_task(config.task, reward=config.reward, test_size=config.problems, seed=config.seed)
    model, tokenizer = load_model(config.model)
    check_readable(task, config.model, tokenizer)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("eta"), TimeRemainingColumn(), console=console) as bar:
        answers = bar.add_task("answers", total=None)
        result = evaluate(
            model,
            tokenizer,
            task,
            samples=config.samples,
            problems=config.problems,
            max_new_tokens=config.max_completion_length,
            temperature=config.temperature,
            batch_size=config.batch_size,
            seed=config.seed,
            progress=lambda done, total: bar.update(answers, completed=done, total=total),
            prompt_formatter=lambda prompt: formatted_prompt(prompt, task, tokenizer),
        )
    config.path.parent.mkdir(parents=True, exist_ok=True)
    write_table(config.path, result.rows, EVALUATION_SCHEMA, {"metrics": json_line(result.metrics, "metrics")})
    console.print(_table(result.metrics))
    console.print(f"every answer with its verdict: {config.path}", soft_wrap=True)
    return result


def _table(metrics: dict[str, float]) -> Table:
    table = Table(
        title=f"{metrics['problems']:.0f} problems, {metrics['samples']:.0f} answers each", title_justify="left"
    )
    for column in ("metric", "value", "95 % interval over problems"):
        table.add_column(column)
    for name, value in metrics.items():
        if name.endswith(("_low", "_high")) or name in ("problems", "samples"):
            continue
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        table.add_row(name, f"{value:.3f}", "" if low is None or high is None else f"{low:.3f} to {high:.3f}")
    return table
