"""Comparison: the finished runs of several arms over several seeds, in one file, with their summary."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from entroshape.experiments.arms import Arm, parse_arms
from entroshape.experiments.declared import Declared
from entroshape.experiments.options import SET_BY_THE_COMPARISON
from entroshape.experiments.record import checked_fields, checked_record
from entroshape.experiments.statistics import Difference, Spread, holm, paired_difference, spread
from entroshape.metrics.wording import in_order
from entroshape.options import affecting, compared
from entroshape.printable import shown
from entroshape.runs.files import write_aside
from entroshape.runs.reading import read_json
from entroshape.training.config import TrainConfig
from entroshape.training.load import config_from

FORMAT = 1
COMPARISON_FIELDS = {"format": int, "base": dict, "baseline": str, "arms": list, "records": list}
"""Required fields of the file with their types."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms, the options that they share, and the records of their runs."""

    base: TrainConfig
    """Options of all runs. Its method, seed and output are not used."""

    arms: list[Arm]
    """Arms in the order in which they are shown."""

    baseline: str
    """Name of the arm that the others are compared with."""

    records: list[dict[str, Any]]
    """One record per finished run, see :func:`entroshape.experiments.record.run_record`."""

    declared: Declared | None = None
    """What was declared when the comparison was begun; ``None`` for those written by older versions."""

    def values(self, arm: str, metric: str, when: str = "after") -> dict[int, float]:
        """Values of a metric by seed, for the finished runs of an arm that have it."""
        own = (record for record in self.records if record["arm"] == arm)
        return {record["seed"]: record[when][metric] for record in own if record[when].get(metric) is not None}

    def against(self, arm: Arm) -> str | None:
        """The arm that ``arm`` is compared with; ``None`` for a baseline itself.

        It is the baseline with the same options of training, if there is such an arm, otherwise the plain baseline.
        """
        first = next(each for each in self.arms if each.name == self.baseline)
        if replace(arm, train_options={}).name == replace(first, train_options={}).name:
            return None
        alike = replace(first, train_options=arm.train_options).name
        return alike if any(each.name == alike for each in self.arms) else self.baseline

    def seeds(self) -> list[int]:
        """All seeds with at least one finished run."""
        return sorted({record["seed"] for record in self.records})

    def metrics(self) -> list[str]:
        """The metrics on held-out problems, in the order in which they are shown."""
        names = {name for record in self.records for name in record["after"]} - {"problems", "samples"}
        return in_order(names)

    def with_records(self, records: Sequence[dict[str, Any]]) -> Comparison:
        """This comparison with more records. A later record of the same arm and seed replaces the earlier one."""
        by_run = {(record["arm"], record["seed"]): record for record in [*self.records, *records]}
        names = [arm.name for arm in self.arms]
        known = [record for record in by_run.values() if record["arm"] in names]
        return replace(self, records=sorted(known, key=lambda record: (names.index(record["arm"]), record["seed"])))


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """Summary of the runs of an arm, per metric."""

    arm: str
    against: str | None
    before: dict[str, Spread]
    after: dict[str, Spread]
    differences: dict[str, Difference]
    """Paired differences to the arm ``against``."""
    adjusted: dict[str, float]
    """P values of the differences, adjusted by Holm's method over all arms of the comparison, per metric."""


def summarize(comparison: Comparison) -> list[ArmSummary]:
    """Means, standard errors and paired differences of all arms that have a finished run."""
    arms = [arm for arm in comparison.arms if any(record["arm"] == arm.name for record in comparison.records)]
    metrics = comparison.metrics()
    differences = {arm.name: _differences(comparison, arm, metrics) for arm in arms}
    adjusted: dict[str, dict[str, float]] = {arm.name: {} for arm in arms}
    for metric in metrics:
        tested = [(name, own[metric].p) for name, own in differences.items() if metric in own]
        tests = [(name, p) for name, p in tested if p is not None]
        for (name, _), p in zip(tests, holm([p for _, p in tests]), strict=True):
            adjusted[name][metric] = p
    return [
        ArmSummary(
            arm=arm.name,
            against=comparison.against(arm),
            before=_spreads(comparison, arm, metrics, "before"),
            after=_spreads(comparison, arm, metrics, "after"),
            differences=differences[arm.name],
            adjusted=adjusted[arm.name],
        )
        for arm in arms
    ]


def _spreads(comparison: Comparison, arm: Arm, metrics: Sequence[str], when: str) -> dict[str, Spread]:
    values = {metric: list(comparison.values(arm.name, metric, when).values()) for metric in metrics}
    return {metric: spread(own) for metric, own in values.items() if own}


def _differences(comparison: Comparison, arm: Arm, metrics: Sequence[str]) -> dict[str, Difference]:
    against = comparison.against(arm)
    if against is None:
        return {}
    pairs = {
        metric: paired_difference(comparison.values(arm.name, metric), comparison.values(against, metric))
        for metric in metrics
    }
    return {metric: difference for metric, difference in pairs.items() if difference is not None}


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the file atomically: options, arms, records, and the summary for other programs."""
    content = {
        "format": FORMAT,
        "base": shared_options(comparison.base),
        "baseline": comparison.baseline,
        **({"declared": comparison.declared.to_dict()} if comparison.declared else {}),
        "arms": [arm.name for arm in comparison.arms],
        "summary": [asdict(summary) for summary in summarize(comparison)],
        "records": comparison.records,
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    # Lists of plain numbers go on one line each, because people read the file and compare its versions.
    flat = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]", text)
    write_aside(path, lambda file: file.write(f"{flat}\n".encode()))


def read_comparison(path: Path) -> Comparison:
    """Reads a comparison that :func:`write_comparison` wrote.

    Raises:
        ValueError: the file is not a valid comparison; the message names it.
    """
    content = read_json(path)
    try:
        content = checked_fields(content, COMPARISON_FIELDS, "the file")
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT}")
        arms = parse_arms([arm if isinstance(arm, str) else shown(arm) for arm in content["arms"]])
        if content["baseline"] not in [arm.name for arm in arms]:
            raise ValueError(f"baseline must be one of its arms; got {content['baseline']!r}")
        return Comparison(
            base=config_from(content["base"], "base"),
            arms=arms,
            baseline=content["baseline"],
            declared=_declared(content.get("declared"), arms),
            records=[checked_record(record, f"records[{place}]") for place, record in enumerate(content["records"])],
        )
    except ValueError as error:
        raise ValueError(f"{path} is not a valid comparison: {error}") from error


def _declared(value: Any, arms: Sequence[Arm]) -> Declared | None:
    if value is None:
        return None
    declared = Declared.from_dict(value)
    if missing := set(declared.arms) - {arm.name for arm in arms}:
        raise ValueError(f"declared names an arm that it does not have: {shown(min(missing))}")
    return declared


def shared_options(base: TrainConfig) -> dict[str, Any]:
    """The options of ``base`` that all runs share, unless an arm has its own value."""
    own = affecting(base, *SET_BY_THE_COMPARISON)
    names = [name for name in compared(base) if name not in own]
    return {name: getattr(base, name) for name in [*names, *affecting(base, "further")]}


def with_further(base: TrainConfig, there: TrainConfig) -> TrainConfig:
    """``base`` with the further evaluations of ``there`` as well, so that all runs of a comparison get the same.

    Raises:
        ValueError: the numbers of fresh problems differ.
    """
    if base.fresh and there.fresh and base.fresh != there.fresh:
        raise ValueError(f"fresh is {there.fresh} in this comparison; got {base.fresh}: another set of problems")
    both: dict[str, Any] = {}
    for name in affecting(base, "further"):
        own, other = getattr(base, name), getattr(there, name)
        both[name] = sorted({*own, *other}) if isinstance(own, list) else own or other
    return replace(base, **both)


def check_same(comparison: Comparison, base: TrainConfig, path: Path) -> None:
    """Refuses to add runs with other options.

    Raises:
        ValueError: an option differs; the message names it with both values.
    """
    there, wanted = shared_options(comparison.base), shared_options(base)
    further = affecting(base, "further")
    for name, value in wanted.items():
        if name not in further and there[name] != value:
            raise ValueError(
                f"{path} was made with {name} = {there[name]!r}; got {value!r}. Choose another --output, "
                "or keep the option unchanged"
            )
