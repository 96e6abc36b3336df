"""The options of ``entroshape eval``, apart from what carries them out, so that ``--help`` waits for no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from entroshape.arguments import parse_arguments
from entroshape.assets import bundled_model_of
from entroshape.checks import check_choice, check_integer, check_number
from entroshape.options import compared, option

EngineName = Literal["transformers", "vllm"]
Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu"]

FIRST_IN_THE_NAME = ("task", "model", "seed")
"""Options whose values the default file's name begins with."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Sample answers to a task's held-out problems and count: Mean@n, Pass@k, majority@n, length, entropy, intervals.

    Every answer is kept with its verdict. The same command goes on where it was stopped, at most a batch behind;
    once it is done, it shows what it found.

    entroshape eval --model Qwen/Qwen2.5-1.5B-Instruct --task math:math500 --samples 4 --max-completion-length 2048
    """

    model: str = option("result", default="bundled")
    """A hub id, a local directory (such as a run's model/, adapters too), or a bundled model: countdown-tiny or
    countdown-search. bundled: the one that was made for the task."""

    task: str = option("result", default="countdown")
    """math:aime24, math:aime25, math:math500 or math:gsm8k (from the hub; with ?from=DIR from a copy of its
    repository), jsonl:PATH?split=test (all lines; without ?split=test the tenth that training holds out), countdown,
    reasoning_gym:NAME, or my_module:my_task."""

    reward: str | None = option("result", default=None)
    """Your own verifier, my_module:my_reward, instead of the task's."""

    samples: int = option("result", default=16)
    """Answers a problem: n of Mean@n, Pass@k for k up to n, and majority@n."""

    problems: int | None = option("result", default=None)
    """At most so many problems. None: all of a benchmark or a test file, 256 where problems are made or held out."""

    temperature: float = option("result", default=1.0)
    """Of sampling, from the whole distribution."""

    max_completion_length: int | None = option("result", default=None)
    """Limit of an answer in tokens. None: the task's suggestion."""

    batch_size: int = option("result", default=256)
    """Answers sampled and scored at a time; a kill loses at most so many. Fewer take less memory."""

    engine: EngineName = option("result", default="transformers")
    """transformers; or vllm, where it is installed: faster on a GPU, without entropies."""

    precision: Precision = option("result", default="float32")
    """Of weights and arithmetic."""

    device: Device = option("resources", default="auto")
    """auto: an accelerator if there is one."""

    seed: int = option("result", default=0)
    """Of all draws."""

    success_threshold: float | None = option("result", default=None)
    """A completion is a success if its reward is above this. None: as in the run whose model this is, else 0.5."""

    output: str | None = option("presentation", default=None)
    """A .parquet file for every answer with its verdict. None: eval/TASK-MODEL-SEED.parquet, with the other
    options that are not the defaults in its name, such as eval/countdown-countdown-tiny-0-samples-32.parquet."""

    json: bool = option("presentation", default=False)
    """Write the figures to standard output as JSON, Pass@k for every k among them, and all else to standard error."""

    def __post_init__(self) -> None:
        if self.model == "bundled":
            object.__setattr__(self, "model", bundled_model_of(self.task))
        for name in ("samples", "batch_size", "problems", "max_completion_length"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum=1, maximum=10_000_000)
        check_integer("seed", self.seed, minimum=0, maximum=2**32 - 1)
        for name, kind in (("engine", EngineName), ("precision", Precision), ("device", Device)):
            check_choice(name, getattr(self, name), get_args(kind))
        check_number("temperature", self.temperature, minimum=0.0, exclusive=True)
        if self.success_threshold is not None:
            check_number("success_threshold", self.success_threshold)
        if self.output is not None and not self.output.endswith(".parquet"):
            raise ValueError(f"output must be a .parquet file; got {self.output!r}")
        if self.engine == "vllm" and self.device == "cpu":
            raise ValueError("device is chosen by vLLM itself: leave out --device with --engine vllm; got 'cpu'")

    @property
    def path(self) -> Path:
        """Where the answers go."""
        if self.output is not None:
            return Path(self.output)
        # A quick look at few answers and the evaluation proper are two files.
        others = [
            f"{each.name}-{getattr(self, each.name)}"
            for each in fields(self)
            if each.name in compared(self)
            and each.name not in FIRST_IN_THE_NAME
            and getattr(self, each.name) != each.default
        ]
        name = "-".join([*(str(getattr(self, name)) for name in FIRST_IN_THE_NAME), *others])
        name = re.sub(r"[^\w.]+", "-", name, flags=re.ASCII).strip("-.")
        return Path("eval") / f"{name}.parquet"


def parse_eval(arguments: list[str]) -> EvalConfig:
    """The options of ``entroshape eval`` from a command line."""
    config: EvalConfig = parse_arguments(EvalConfig, "eval", arguments)
    return config
