"""The table of what training changed on held-out problems: which metrics, in which words and units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Metrics = Mapping[str, float]
"""As :func:`entroshape.evaluation.evaluation_metrics` gives them."""

Changes = Mapping[str, Mapping[str, float]]
"""As :func:`entroshape.evaluation.paired_changes` gives them."""


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """A metric before and after, as text; intervals are empty where there are none."""

    label: str
    before: str
    before_interval: str
    after: str
    after_interval: str
    change: str
    change_interval: str
    clear: bool
    """Whether the change's interval excludes 0."""


@dataclass(frozen=True, kw_only=True)
class _Format:
    label: str
    share: bool
    digits: int

    def number(self, value: float, *, signed: bool = False) -> str:
        # Adding 0 after rounding turns -0.0 into 0.0.
        rounded = round(100 * value if self.share else value, self.digits) + 0.0
        return f"{rounded:{'+' if signed else ''}.{self.digits}f}"

    def value(self, value: float) -> str:
        return self.number(value) + (" %" if self.share else "")

    def interval(self, low: float, high: float, *, signed: bool = False) -> str:
        return f"{self.number(low, signed=signed)} to {self.number(high, signed=signed)}"


OTHERS = {
    "reward": _Format(label="Reward", share=False, digits=3),
    "entropy": _Format(label="Entropy (nats/token)", share=False, digits=3),
    "length": _Format(label="Length (tokens)", share=False, digits=1),
    "share_cut": _Format(label="Cut at the limit", share=True, digits=1),
}


def outcome_rows(before: Metrics, after: Metrics | None = None, changes: Changes | None = None) -> list[OutcomeRow]:
    """Mean@n, Pass@k, entropy, length and share cut, before and after; the reward where it is not the success rate.

    Args:
        before: metrics of the first evaluation.
        after: metrics of the last; ``None``: there is none yet.
        changes: paired differences with intervals; where missing, the plain difference stands without one.

    Example:
        >>> row = outcome_rows({"mean@4": 0.1, "pass@1": 0.1}, {"mean@4": 0.25, "pass@1": 0.25})[0]
        >>> row.label, row.before, row.after, row.change
        ('Mean@4 = Pass@1', '10.0 %', '25.0 %', '+15.0')
    """
    after, changes = after or {}, changes or {}
    names = [name for name in {**before, **after} if _format(name)]
    graded = any(abs(metrics["reward"] - _mean(metrics)) > 1e-9 for metrics in (before, after) if "reward" in metrics)
    kept = [name for name in names if name != "pass@1" and (name != "reward" or graded)]
    return [_row(name, before, after, changes.get(name)) for name in sorted(kept, key=_place)]


def _row(name: str, before: Metrics, after: Metrics, change: Mapping[str, float] | None) -> OutcomeRow:
    style = _format(name)
    assert style is not None  # outcome_rows keeps no other
    if change is None and name in before and name in after:
        change = {"value": after[name] - before[name]}
    between = (change["low"], change["high"]) if change and "low" in change else None

    def shown(metrics: Metrics) -> tuple[str, str]:
        if name not in metrics:
            return "-", ""
        ends = [metrics.get(f"{name}_{end}") for end in ("low", "high")]
        interval = "" if ends[0] is None or ends[1] is None else style.interval(ends[0], ends[1])
        return style.value(metrics[name]), interval

    first, last = shown(before), shown(after)
    return OutcomeRow(
        label=style.label,
        before=first[0],
        before_interval=first[1],
        after=last[0],
        after_interval=last[1],
        change=style.number(change["value"], signed=True) if change else "-",
        change_interval=style.interval(*between, signed=True) if between else "",
        clear=between is not None and not between[0] <= 0 <= between[1],
    )


def _format(name: str) -> _Format | None:
    found = re.fullmatch(r"(mean|pass)@(\d+)", name)
    if not found:
        return OTHERS.get(name)
    label = f"Mean@{found[2]} = Pass@1" if found[1] == "mean" else f"Pass@{found[2]}"
    return _Format(label=label, share=True, digits=1)


def _place(name: str) -> tuple[int, int]:
    kind, _, k = name.partition("@")
    order = ["mean", "pass", *OTHERS]
    return order.index(kind), int(k or 0)


def _mean(metrics: Metrics) -> float:
    return next(value for name, value in metrics.items() if re.fullmatch(r"mean@\d+", name))
