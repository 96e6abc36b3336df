"""The options of ``entroshape eval``, separate from its code, so that ``--help`` does not wait for torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from entroshape.arguments import parse_arguments
from entroshape.assets import bundled_model_of
from entroshape.checks import check_choice, check_distinct, check_integer, check_number
from entroshape.options import compared, option
from entroshape.weights.options import checked_mixture

EngineName = Literal["transformers", "vllm"]
Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu"]

FIRST_IN_THE_NAME = ("task", "model", "seed")
"""Options at the start of the default file name."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Sample completions for a task's held-out problems and report Mean@n, Pass@k and majority@n with intervals.

    Completion length and entropy are reported too. Every completion is kept with its verdict. If the evaluation is
    interrupted, the same command resumes it, and at most one batch is lost. If it is complete, the command prints its
    results.

    entroshape eval --model Qwen/Qwen2.5-1.5B-Instruct --task math:math500 --samples 4 --max-completion-length 2048
    """

    model: str = option("result", default="bundled")
    """Hub id, local directory (such as the model/ of a run; adapters work too), or the name of a bundled model
    (countdown-tiny or countdown-search). bundled: the one made for the task."""

    mix: str | None = option("result", default=None)
    """Evaluate the mixture (1 - a) * model + a * TRAINED of the weights of two models without writing it, as TRAINED:a,
    such as --model countdown-tiny --mix runs/countdown-gtpo-0-1/model:0.5."""

    task: str = option("result", default="countdown")
    """Task to evaluate on: math:aime24, math:aime25, math:math500 or math:gsm8k from the hub (?from=DIR reads a local
    copy of the repository); jsonl:PATH?split=test (all lines; without ?split=test, the tenth that training holds out);
    countdown; countdown_search; reasoning_gym:NAME; or my_module:my_task."""

    reward: str | None = option("result", default=None)
    """Your own reward function, my_module:my_reward, instead of the task's verifier."""

    samples: int = option("result", default=16)
    """Completions per problem: the n of Mean@n and majority@n, and Pass@k for k up to n."""

    problems: int | None = option("result", default=None)
    """Maximum number of problems. None: all problems of a benchmark or test file; 256 if problems are generated or held
    out."""

    fresh: int | None = option("result", default=None)
    """Evaluate on this many fresh problems instead of the held-out ones: a third set, disjoint from those and from the
    training problems of the run that --model belongs to. Only for tasks that make their problems: countdown,
    countdown_search, reasoning_gym."""

    temperature: tuple[float, ...] = option("result", default=(1.0,))
    """Sampling temperature; 0 is greedy decoding, with one completion per problem. Completions are sampled from the
    full distribution. Several temperatures, such as 0.2,0.6,1.0, are evaluated with the same random numbers. The best
    one is chosen on half of the problems and reported on the other half."""

    max_completion_length: int | None = option("result", default=None)
    """Maximum completion length in tokens. None: the task's default."""

    batch_size: int = option("result", default=256)
    """Completions sampled and scored at a time. An interruption loses at most one batch. Smaller values need less
    memory."""

    engine: EngineName = option("result", default="transformers")
    """transformers, or vllm if it is installed. vLLM is faster on a GPU but does not record entropies."""

    precision: Precision = option("result", default="float32")
    """Precision of weights and arithmetic."""

    device: Device = option("resources", default="auto")
    """auto uses an accelerator if one is available; cpu does not."""

    seed: int = option("result", default=0)
    """Random seed for all draws."""

    success_threshold: float | None = option("result", default=None)
    """A completion is a success if its reward is above this threshold. None: the threshold of the run that trained the
    model, otherwise 0.5."""

    output: str | None = option("presentation", default=None)
    """Parquet file for every completion with its verdict. None: eval/TASK-MODEL-SEED.parquet, with all options that
    differ from their defaults in the name, such as eval/countdown-countdown-tiny-0-samples-32.parquet."""

    json: bool = option("presentation", default=False)
    """Print the results to standard output as JSON, with Pass@k for every k, and everything else to standard error."""

    def __post_init__(self) -> None:
        if self.model == "bundled":
            object.__setattr__(self, "model", bundled_model_of(self.task))
        for name in ("samples", "batch_size", "problems", "fresh", "max_completion_length"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum=1, maximum=10_000_000)
        check_integer("seed", self.seed, minimum=0, maximum=2**32 - 1)
        for name, kind in (("engine", EngineName), ("precision", Precision), ("device", Device)):
            check_choice(name, getattr(self, name), get_args(kind))
        object.__setattr__(self, "temperature", _temperatures(self.temperature))
        if self.success_threshold is not None:
            check_number("success_threshold", self.success_threshold)
        if self.mix is not None:
            checked_mixture("mix", self.mix)
            if self.engine == "vllm":
                raise ValueError("mix: vLLM loads saved models; write the mixture with entroshape merge")
        if self.fresh is not None and self.problems is not None:
            raise ValueError(f"problems limits the held-out problems, which fresh replaces; got both: {self.problems}")
        if self.output is not None and not self.output.endswith(".parquet"):
            raise ValueError(f"output must be a .parquet file; got {self.output!r}")
        if self.engine == "vllm" and self.device == "cpu":
            raise ValueError("device: vLLM chooses its own device; omit --device with --engine vllm; got 'cpu'")

    @property
    def mixture(self) -> tuple[str, float] | None:
        """TRAINED and its share, if a mixture is evaluated."""
        return None if self.mix is None else checked_mixture("mix", self.mix)

    @property
    def path(self) -> Path:
        """The file for the completions."""
        if self.output is not None:
            return Path(self.output)
        # A quick look at a few completions and the full evaluation get different files.
        others = [
            f"{each.name}-{plain(getattr(self, each.name))}"
            for each in fields(self)
            if each.name in compared(self)
            and each.name not in FIRST_IN_THE_NAME
            and getattr(self, each.name) != each.default
        ]
        name = "-".join([*(str(getattr(self, name)) for name in FIRST_IN_THE_NAME), *others])
        name = re.sub(r"[^\w.]+", "-", name, flags=re.ASCII).strip("-.")
        return Path("eval") / f"{name}.parquet"


def plain(value: Any) -> Any:
    """The value of an option as a number or text: several temperatures are text.

    Example:
        >>> plain((0.6,)), plain((0.2, 1.0)), plain("gtpo")
        (0.6, '0.2,1.0', 'gtpo')
    """
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else ",".join(map(str, value))
    return value


def _temperatures(value: Any) -> tuple[float, ...]:
    """One temperature or several, in order."""
    if not isinstance(value, list | tuple):
        check_number("temperature", value, minimum=0.0)
        return (float(value),)
    if not value:
        raise ValueError("temperature must be at least one number; got none")
    check_distinct("temperature", list(value), minimum=0.0)
    return tuple(sorted(map(float, value)))


def parse_eval(arguments: list[str]) -> EvalConfig:
    """Parses the options of ``entroshape eval``."""
    config: EvalConfig = parse_arguments(EvalConfig, "eval", arguments)
    return config
