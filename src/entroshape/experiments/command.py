"""``entroshape compare``: methods held against each other over seeds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from entroshape.experiments.arms import NOT_OF_AN_ARM, Arm, parse_arms
from entroshape.experiments.comparison import (
    FILE,
    ONLY_WHERE,
    Comparison,
    check_same,
    read_comparison,
    write_comparison,
)
from entroshape.experiments.page import write_page
from entroshape.experiments.runner import Job, Runner
from entroshape.experiments.table import comparison_table
from entroshape.runs import RunDirectory
from entroshape.training.command import parse_train
from entroshape.training.config import BUNDLED_MODEL, TrainConfig


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Hold methods against each other: same weights, same prompts in the same order, same draws, several seeds.

    Every option of ``entroshape train`` may follow and holds for all runs (``--steps 50``, ``--config recipe.yaml``);
    the method, its options and the seed are the comparison's own. A second call of the same command goes on where the
    first was stopped; with more seeds or methods it adds them.
    """

    methods: list[str]
    """Arms: METHOD[:OPTION=VALUE]..., separated by commas, such as dapo,gtpo,gtpo:alpha2=0.5:axis=row. Options are
    the method's, or of training (gtpo:dynamic_sampling=false). None: all those that --output already holds."""

    seeds: int = 5
    """So many seeds, counted from --first-seed."""

    first_seed: int = 0
    """Where seeds are counted from. What looked best on some seeds is to be confirmed on fresh ones."""

    sweep: list[str]
    """OPTION=VALUE,VALUE,... multiplies all arms that have the option, such as alpha2=0.1,0.2,0.5."""

    baseline: str | None = None
    """The arm that the others are held against. None: dapo if it is one, else the first."""

    parallel: int | None = None
    """Runs side by side. None: one a CPU core for the bundled model, else 1."""

    launcher: str | None = None
    """What starts each run, such as "accelerate launch --num_processes 8". None: this Python, one process a run."""

    output: str | None = None
    """Directory for comparison.json, comparison.html and the runs. None: comparisons/TASK."""

    keep_checkpoints: bool = False
    """Keep the checkpoints of finished runs; their final weights are kept anyway."""

    def __post_init__(self) -> None:
        for name in ("seeds", "parallel"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
        if self.first_seed < 0:
            raise ValueError(f"first_seed must be a whole number of at least 0; got {self.first_seed!r}")


def parse_compare(arguments: list[str]) -> tuple[CompareConfig, list[str]]:
    """The comparison's own options, and what is left: those of ``entroshape train``.

    Raises:
        ValueError: an option of training that the comparison sets itself.
    """
    config, rest = tyro.cli(
        CompareConfig,
        prog="entroshape compare",
        args=arguments,
        default=CompareConfig(methods=[], sweep=[]),
        return_unknown_args=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    for name in (*(name for name in NOT_OF_AN_ARM if name != "output"), "resume"):
        flags = (f"--{name}", f"--{name.replace('_', '-')}")
        if any(argument.split("=")[0] in flags for argument in rest):
            raise ValueError(f"{flags[-1]} is not for compare: name arms with --methods, and how many --seeds")
    return config, rest


def run_compare(config: CompareConfig, train_arguments: Sequence[str], console: Console) -> Comparison:
    """Trains what is missing, and writes and shows the comparison.

    Raises:
        ValueError: options that do not work, or differ from those of the comparison that ``output`` holds.
        RuntimeError: runs that failed; all others are in the comparison.
    """
    comparison, arms, directory = plan(config, train_arguments)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    jobs = missing_jobs(comparison, arms, seeds, directory)
    path = directory / FILE
    directory.mkdir(parents=True, exist_ok=True)
    write_comparison(comparison, path)
    runs = len(arms) * config.seeds
    console.print(f"{directory}: {runs} runs, {runs - len(jobs)} of them done", soft_wrap=True)

    def keep(record: dict[str, Any]) -> None:
        nonlocal comparison
        comparison = comparison.with_records([record])
        write_comparison(comparison, path)

    failed = []
    if jobs:
        console.print("stop with Ctrl-C at any time: the same command goes on from there")
        runner = Runner(
            config.parallel or _parallel(comparison),
            console,
            keep_checkpoints=config.keep_checkpoints,
            launcher=config.launcher,
        )
        failed = runner.run(jobs, keep)
    if comparison.records:
        console.print(comparison_table(comparison))
        console.print(f"pictures: {write_page(comparison, directory)}\nfigures: {path}", soft_wrap=True)
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed, the first one's output is in {failed[0].log}")
    return comparison


def plan(config: CompareConfig, train_arguments: Sequence[str]) -> tuple[Comparison, list[Arm], Path]:
    """What is compared, with the records that are already there; the arms to be trained; and where.

    Raises:
        ValueError: see :func:`run_compare`.
    """
    there = None
    if config.output is not None and (Path(config.output) / FILE).is_file():
        there = read_comparison(Path(config.output) / FILE)
    base = _base(train_arguments, there)
    directory = Path(config.output or Path("comparisons") / re.sub(r"[^\w.]+", "-", base.task).strip("-."))
    path = directory / FILE
    if there is None and path.is_file():
        there = read_comparison(path)
    arms = parse_arms(config.methods, config.sweep) if config.methods else []
    if not config.methods and (config.sweep or there is None):
        raise ValueError("methods must name what is compared, such as --methods dapo,gtpo,grpo_s; got none")
    for arm in arms:
        arm.config(base, seed=0)
    known = there.arms if there else []
    if there is not None:
        check_same(there, base, path)
    comparison = Comparison(
        base=base,
        arms=(every := list({arm.name: arm for arm in [*known, *arms]}.values())),
        baseline=_baseline(config, there, every),
        records=there.records if there else [],
    )
    return comparison, arms or every, directory


def missing_jobs(comparison: Comparison, arms: Sequence[Arm], seeds: Iterable[int], directory: Path) -> list[Job]:
    """The runs without a record, seed after seed so that a comparison that is stopped is a fair one.

    Raises:
        ValueError: a run's directory that holds a run with other options.
    """
    done = {(record["arm"], record["seed"]) for record in comparison.records}
    jobs = []
    for seed in seeds:
        for arm in arms:
            if (arm.name, seed) not in done:
                path = directory / "runs" / arm.folder / f"seed-{seed}"
                job = Job(arm=arm, config=arm.config(comparison.base, seed, str(path)), path=path)
                _check_begun(job)
                jobs.append(job)
    return jobs


def _check_begun(job: Job) -> None:
    run = RunDirectory(job.path)
    if not run.config_path.is_file():
        return
    there = run.read_config()
    for option in fields(job.config):
        wanted = getattr(job.config, option.name)
        if option.name not in ("output", *ONLY_WHERE) and there.get(option.name) != wanted:
            raise ValueError(
                f"{run.path} holds a run with {option.name} = {there.get(option.name)!r}, where {wanted!r} is asked; "
                "choose another --output, or remove it"
            )


def _base(train_arguments: Sequence[str], there: Comparison | None) -> TrainConfig:
    if not train_arguments and there is not None:
        return there.base
    config, _ = parse_train(list(train_arguments))
    own = TrainConfig()
    return replace(config, **{name: getattr(own, name) for name in NOT_OF_AN_ARM})


def _baseline(config: CompareConfig, there: Comparison | None, arms: list[Arm]) -> str:
    names = [arm.name for arm in arms]
    if config.baseline is not None:
        if config.baseline not in names:
            raise ValueError(f"baseline must be one of {', '.join(names)}; got {config.baseline!r}")
        return config.baseline
    if there is not None:
        return there.baseline
    return "dapo" if "dapo" in names else names[0]


def _parallel(comparison: Comparison) -> int:
    return (os.cpu_count() or 1) if comparison.base.model == BUNDLED_MODEL else 1
