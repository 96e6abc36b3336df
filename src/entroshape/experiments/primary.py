"""The primary metric of a comparison, over the arms and seeds that were declared, and what else is exploratory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from entroshape.experiments.arms import Arm
from entroshape.experiments.declared import ranges
from entroshape.experiments.frontier import is_frontier_metric, summarize_frontier
from entroshape.experiments.results import Comparison, summarize
from entroshape.experiments.statistics import Difference
from entroshape.metrics.aggregation import headline_ks
from entroshape.metrics.points import tries_of
from entroshape.metrics.wording import counted, wording
from entroshape.training.config import TrainConfig

PLAIN = re.compile(r"(mean|majority|pass)@([1-9]\d*)")
"""Metrics at the temperature of training, which do not need a grid of temperatures."""


@dataclass(frozen=True, kw_only=True)
class PrimaryRow:
    """The primary metric of an arm, over the declared seeds that are finished."""

    arm: str
    seeds: int
    """Number of declared seeds with a value."""

    metric: str

    difference: Difference
    """Against the hull for figures beyond it, otherwise against the baseline."""

    adjusted: float | None
    """P value, adjusted by Holm's method over the declared arms."""

    @property
    def text(self) -> str:
        """The arm with its figure and interval, in percentage points."""
        words = wording(self.metric)
        interval = words.over_seeds(self.difference.low, self.difference.high)
        p = "" if self.adjusted is None else f", adjusted p {self.adjusted:.2g}"
        seeds = counted(self.seeds, "seed")
        return f"{self.arm} {words.number(self.difference.mean, signed=True)} ({interval}; {seeds}{p})"


def primary_rows(comparison: Comparison) -> list[PrimaryRow]:
    """The primary metric of every declared arm that has it; none if no primary metric was declared."""
    declared = comparison.declared
    if declared is None or declared.primary is None:
        return []
    arms = [arm for arm in comparison.arms if arm.name in declared.arms]
    records = [
        record for record in comparison.records if record["arm"] in declared.arms and record["seed"] in declared.seeds
    ]
    own = replace(comparison, arms=arms, baseline=declared.baseline, records=records)
    name = declared.primary
    found: Iterable[tuple[str, Difference | None, float | None]]
    if is_frontier_metric(name):
        figures = {each.arm: each.figures.get(name) for each in summarize_frontier(own)}
        found = [(arm, figure.difference, figure.adjusted) for arm, figure in figures.items() if figure is not None]
    else:
        found = [(each.arm, each.differences.get(name), each.adjusted.get(name)) for each in summarize(own)]
    return [
        PrimaryRow(arm=arm, seeds=difference.n, metric=name, difference=difference, adjusted=adjusted)
        for arm, difference, adjusted in found
        if difference is not None
    ]


def declaration_notes(comparison: Comparison) -> list[str]:
    """Sentences on what was declared, the primary metric, and what is exploratory."""
    declared = comparison.declared
    if declared is None:
        return ["declared: nothing. All figures are exploratory."]
    notes = [f"declared when it was begun: {declared.text}."]
    if declared.primary is not None:
        against = "the hull" if is_frontier_metric(declared.primary) else declared.baseline
        rows = "; ".join(row.text for row in primary_rows(comparison)) or "no value yet"
        notes.append(f"{declared.primary} against {against}, in percentage points, 95 % interval over seeds: {rows}.")
    arms = exploratory_arms(comparison)
    seeds = set(comparison.seeds()) - set(declared.seeds)
    later = [
        *(["arm " + ", ".join(arms)] if arms else []),
        *([f"seeds {ranges(seeds)}"] if seeds else []),
        *([f"baseline {comparison.baseline}"] if comparison.baseline != declared.baseline else []),
        "all other metrics" if declared.primary else "all metrics",
    ]
    notes.append(f"exploratory: {'; '.join(later)}.")
    return notes


def exploratory_arms(comparison: Comparison) -> list[str]:
    """Names of the arms that were added after the comparison was begun."""
    declared = comparison.declared
    return [arm.name for arm in comparison.arms if declared is not None and arm.name not in declared.arms]


def check_primary(name: str, base: TrainConfig, arms: Iterable[Arm]) -> None:
    """Refuses a primary metric that no run of the comparison will have.

    Raises:
        ValueError: the name is unknown, or an option that the metric needs is missing; the message names it.
    """
    configs = [arm.config(base, seed=0) for arm in arms]
    if plain := PLAIN.fullmatch(name):
        kind, k = plain[1], int(plain[2])
        possible = headline_ks(base.eval_samples) if kind == "pass" else [base.eval_samples]
        if k not in possible:
            names = ", ".join(f"{kind}@{each}" for each in possible)
            raise ValueError(f"primary must be among {names} with {base.eval_samples} eval_samples; got {name!r}")
        return
    if not is_frontier_metric(name):
        raise ValueError(
            "primary must be above-hull@K, mean-above-hull@K, area-beyond-hull@K (with -ema, -mix or -mix-ema before "
            f"the @ for other weights), above-wide-hull@K, greedy, mean@N or pass@K; got {name!r}"
        )
    _check_frontier(name, base, configs)


def _check_frontier(name: str, base: TrainConfig, configs: list[TrainConfig]) -> None:
    kind, _, k = name.partition("@")
    needs = []
    if kind.startswith("greedy"):
        needs += ["0 among --eval-temperatures"] if 0 not in base.eval_temperatures else []
    elif len({*base.eval_temperatures, base.temperature}) < 2:
        needs += ["several temperatures, such as --eval-temperatures 0.2,0.6,1.0"]
    if "mix" in kind and not base.eval_mixtures:
        needs += ["--eval-mixtures, such as 0.5,0.7"]
    if kind.endswith("ema") and not any(config.ema_decay for config in configs):
        needs += ["--ema-decay, such as 0.98"]
    if needs:
        raise ValueError(f"primary {name} needs {' and '.join(needs)}")
    tries = tries_of(base.eval_samples)
    if k and int(k) not in tries:
        names = ", ".join(f"{kind}@{each}" for each in tries)
        raise ValueError(f"primary must be among {names} with {base.eval_samples} eval_samples; got {name!r}")
