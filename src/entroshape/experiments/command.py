"""``entroshape compare``: compares methods over several seeds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from entroshape.assets import BUNDLED_MODELS
from entroshape.experiments.arms import Arm, parse_arms
from entroshape.experiments.declared import Declared
from entroshape.experiments.options import FILE, CompareConfig
from entroshape.experiments.page import write_page
from entroshape.experiments.preflight import check_begun, check_saved, check_starts, held
from entroshape.experiments.primary import check_primary
from entroshape.experiments.record import lacking
from entroshape.experiments.results import (
    Comparison,
    check_same,
    read_comparison,
    with_further,
    write_comparison,
)
from entroshape.experiments.runner import Runner
from entroshape.experiments.starts import Job
from entroshape.experiments.table import comparison_table
from entroshape.metrics.wording import counted
from entroshape.runs import RunDirectory
from entroshape.training.config import TrainConfig


def run_compare(config: CompareConfig, base: TrainConfig, console: Console) -> Comparison:
    """Trains the missing runs, and writes and shows the comparison.

    Raises:
        ValueError: options are invalid or differ from those of the comparison in ``output``, or another call is using
            ``output``.
        RuntimeError: runs failed; all others are in the comparison.
    """
    comparison, arms, directory = plan(config, base)
    jobs = _jobs(config, comparison, arms, directory)
    check_starts((job.config for job in jobs), config.launcher)
    with held(directory):
        # Another call may have finished in the meantime and added records.
        comparison, arms, directory = plan(config, base)
        jobs = _jobs(config, comparison, arms, directory)
        runs = len(arms) * config.seeds
        known = {(record["arm"], record["seed"]) for record in comparison.records}
        trained = sum((job.arm.name, job.config.seed) in known for job in jobs)
        further = f", {trained} trained that lack evaluations" if trained else ""
        console.print(f"{directory}: {counted(runs, 'run')}, {runs - len(jobs)} done{further}", soft_wrap=True)
        return _carried_out(config, comparison, jobs, directory, console)


def _jobs(config: CompareConfig, comparison: Comparison, arms: Sequence[Arm], directory: Path) -> list[Job]:
    return missing_jobs(comparison, arms, range(config.first_seed, config.first_seed + config.seeds), directory)


def _carried_out(
    config: CompareConfig, comparison: Comparison, jobs: list[Job], directory: Path, console: Console
) -> Comparison:
    path = directory / FILE
    write_comparison(comparison, path)

    def keep(record: dict[str, Any]) -> None:
        nonlocal comparison
        comparison = comparison.with_records([record])
        write_comparison(comparison, path)

    failed = []
    if jobs:
        console.print("stop with Ctrl-C at any time; the same command resumes")
        runner = Runner(
            config.parallel or _parallel(comparison),
            console,
            keep_checkpoints=config.keep_checkpoints,
            launcher=config.launcher,
        )
        failed = runner.run(jobs, keep)
    if comparison.records:
        console.print(comparison_table(comparison))
        console.print(f"charts: {write_page(comparison, directory)}\nfigures: {path}", soft_wrap=True)
    if failed:
        first = failed[0]
        raise RuntimeError(
            f"{len(failed)} of {counted(len(jobs), 'run')} failed; {first.job.name}: {first} "
            f"(full output: {first.job.log})"
        )
    return comparison


def plan(config: CompareConfig, base: TrainConfig) -> tuple[Comparison, list[Arm], Path]:
    """Returns the comparison with its existing records, the arms to train, and the directory.

    Raises:
        ValueError: see :func:`run_compare`.
    """
    there = None
    if config.output is not None and (Path(config.output) / FILE).exists():
        there = read_comparison(Path(config.output) / FILE)
    directory = Path(config.output or Path("comparisons") / re.sub(r"[^\w.]+", "-", base.task).strip("-."))
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"output must be a directory; {directory} is a file. Choose another --output")
    path = directory / FILE
    if there is None and path.exists():
        there = read_comparison(path)
    arms = _named_arms(config, there, path)
    for arm in arms:
        arm.config(base, seed=0)
    known = there.arms if there else []
    # Without records no run has finished, and an option that caused failures may be corrected.
    if there is not None and there.records:
        check_same(there, base, path)
    every = list({arm.name: arm for arm in [*known, *arms]}.values())
    comparison = Comparison(
        base=with_further(base, there.base) if there is not None else base,
        arms=every,
        baseline=_baseline(config, there, every),
        records=there.records if there else [],
    )
    return replace(comparison, declared=_declared(config, comparison, there, path)), arms or every, directory


def _declared(config: CompareConfig, comparison: Comparison, there: Comparison | None, path: Path) -> Declared | None:
    """What the comparison declares: settled once it has records.

    Raises:
        ValueError: the primary metric is unknown, needs other options, or is asked for too late.
    """
    before = there.declared if there else None
    if comparison.records:
        earlier = before.primary if before else None
        if config.primary not in (None, earlier):
            declared = f"the primary metric {earlier}" if earlier else "no primary metric"
            raise ValueError(
                f"primary must be declared before there are results: {path} was begun with {declared}; got "
                f"{config.primary!r}. All metrics are shown; this one stays exploratory. To declare it, begin another "
                "comparison with fresh seeds (--output, --first-seed)"
            )
        return before
    primary = config.primary if config.primary is not None else before.primary if before else None
    if primary is not None:
        check_primary(primary, comparison.base, comparison.arms)
    return Declared(
        arms=[arm.name for arm in comparison.arms],
        seeds=list(range(config.first_seed, config.first_seed + config.seeds)),
        baseline=comparison.baseline,
        primary=primary,
    )


def _named_arms(config: CompareConfig, there: Comparison | None, path: Path) -> list[Arm]:
    if config.methods:
        return parse_arms(config.methods, config.sweep)
    if there is None:
        raise ValueError("methods must name the arms to compare, such as --methods dapo,gtpo,grpo_s; got none")
    if config.sweep:
        names = ",".join(arm.name for arm in there.arms)
        raise ValueError(
            f"sweep needs --methods, because it multiplies the arms named there; {path} already has {names}"
        )
    return []


def missing_jobs(comparison: Comparison, arms: Sequence[Arm], seeds: Iterable[int], directory: Path) -> list[Job]:
    """The runs without a record or with missing points, ordered by seed.

    So a stopped comparison has as many seeds of each arm.

    Raises:
        ValueError: the directory of a run contains a run with other options, or points are missing of a run whose
            weights are gone.
    """
    records = {(record["arm"], record["seed"]): record for record in comparison.records}
    jobs = []
    for seed in seeds:
        for arm in arms:
            path = directory / "runs" / arm.folder / f"seed-{seed}"
            job = Job(arm=arm, config=arm.config(comparison.base, seed, str(path)), path=path)
            record = records.get((arm.name, seed))
            if record is None or lacking(record, job.config):
                if record is not None:
                    check_saved(RunDirectory(path), job.config, lacking(record, job.config))
                check_begun(RunDirectory(path), job.config)
                jobs.append(job)
    return jobs


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
    if comparison.base.model not in BUNDLED_MODELS:
        return 1
    return max(1, (os.cpu_count() or 1) // (comparison.base.threads or 1))
