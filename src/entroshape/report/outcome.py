"""The outcome table, as text: what training changed on held-out problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from entroshape.metrics.wording import wording, worth_showing

Metrics = Mapping[str, float]
"""The result of :func:`entroshape.evaluation.evaluation_metrics`."""

Changes = Mapping[str, Mapping[str, float]]
"""The result of :func:`entroshape.evaluation.paired_changes`."""


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """A metric before and after training, as text. Unknown intervals are empty."""

    label: str
    before: str
    before_interval: str
    after: str
    after_interval: str
    change: str
    change_interval: str
    clear: bool
    """Whether the change's interval excludes 0."""


def outcome_rows(before: Metrics, after: Metrics | None = None, changes: Changes | None = None) -> list[OutcomeRow]:
    """Mean@n, Pass@k, entropy, length and share cut, before and after; the reward too if it is not the success rate.

    Args:
        before: metrics of the first evaluation.
        after: metrics of the last evaluation; ``None`` if there is none yet.
        changes: paired differences with intervals. A metric without one gets the plain difference, without interval.

    Example:
        >>> row = outcome_rows({"mean@4": 0.1, "pass@1": 0.1}, {"mean@4": 0.25, "pass@1": 0.25})[0]
        >>> row.label, row.before, row.after, row.change
        ('Mean@4 = Pass@1', '10.0 %', '25.0 %', '+15.0')
    """
    after, changes = after or {}, changes or {}
    return [_row(name, before, after, changes.get(name)) for name in worth_showing(before, after)]


def _row(name: str, before: Metrics, after: Metrics, change: Mapping[str, float] | None) -> OutcomeRow:
    words = wording(name)
    if change is None and name in before and name in after:
        change = {"value": after[name] - before[name]}
    between = (change["low"], change["high"]) if change and "low" in change else None

    def shown(metrics: Metrics) -> tuple[str, str]:
        if name not in metrics:
            return "-", ""
        ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
        interval = "" if ends[0] is None or ends[1] is None else words.interval(ends[0], ends[1])
        return words.value(metrics[name]), interval

    first, last = shown(before), shown(after)
    return OutcomeRow(
        label=words.title,
        before=first[0],
        before_interval=first[1],
        after=last[0],
        after_interval=last[1],
        change=words.number(change["value"], signed=True) if change else "-",
        change_interval=words.interval(*between, signed=True) if between else "",
        clear=between is not None and not between[0] <= 0 <= between[1],
    )
