"""How a metric is shown: its label, its unit, whether it is a share, and its number of digits.

The terminal, ``report.html`` and ``comparison.html`` all show the text that is made here, so they agree to the digit.
The scripts of the pages format no numbers themselves. Ties are rounded away from zero: 0.0625 is 6.3 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How the values of one metric are shown.

    Example:
        >>> wording("mean@16").value(0.0625), wording("entropy").interval(0.31, 0.3335)
        ('6.3 %', '0.310 to 0.334')
    """

    label: str
    """Such as ``"Mean@16"``, ``"Entropy"``."""

    unit: str = ""
    """Such as ``"tokens"``. Shares have no unit; they are shown with a per cent sign."""

    share: bool = False
    """Whether values lie between 0 and 1. They are shown in per cent, and their differences in percentage points."""

    digits: int = 3
    """Number of decimals, or of significant digits if ``significant``."""

    significant: bool = False
    """Whether ``digits`` counts significant digits, for metrics whose values can have any magnitude."""

    also: str = ""
    """Another name of the same quantity."""

    note: str = ""
    """Definition of the metric, in one sentence."""

    @property
    def title(self) -> str:
        """The label with the other name and the unit.

        Example:
            >>> wording("mean@16").title, wording("length").title
            ('Mean@16 = Pass@1', 'Length (tokens)')
        """
        return self.label + (f" = {self.also}" if self.also else "") + (f" ({self.unit})" if self.unit else "")

    def number(self, value: float, *, signed: bool = False) -> str:
        """The number without a unit; with ``signed``, it always has a sign, as differences do.

        Raises:
            ValueError: a value that is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"{self.label} must be finite; got {value!r}")
        sign = "+" if signed else ""
        if self.significant:
            return f"{value + 0.0:{sign}.{self.digits}g}"
        # The shortest decimal that prints as the float: 0.1235 is a tie, whatever its binary form.
        exact = Decimal(repr(float(value))) * (100 if self.share else 1)
        # Adding 0 turns -0 into 0.
        rounded = exact.quantize(Decimal(1).scaleb(-self.digits), rounding=ROUND_HALF_UP) + 0
        return f"{rounded:{sign},.{self.digits}f}"

    def value(self, value: float) -> str:
        """The number, with a per cent sign if it is a share and with "s" if it is in seconds."""
        return self.number(value) + self._sign

    def difference(self, value: float) -> str:
        """A signed difference, in percentage points if the metric is a share."""
        return self.number(value, signed=True) + (" points" if self.share else "")

    def interval(self, low: float, high: float, *, signed: bool = False) -> str:
        """The two ends of an interval, without a unit: it is shown next to a value that has one."""
        return f"{self.number(low, signed=signed)} to {self.number(high, signed=signed)}"

    def over_seeds(self, low: float | None, high: float | None) -> str:
        """The signed interval of a difference over seeds, or ``"one seed"`` if there is none.

        Example:
            >>> wording("mean@16").over_seeds(-0.01, 0.02), wording("mean@16").over_seeds(None, None)
            ('-1.0 to +2.0', 'one seed')
        """
        return "one seed" if low is None or high is None else self.interval(low, high, signed=True)

    def with_error(self, mean: float, error: float | None) -> str:
        """A mean with its standard error, or the mean only if ``error`` is ``None``."""
        return self.number(mean) + ("" if error is None else f" ± {self.number(error)}") + self._sign

    @property
    def _sign(self) -> str:
        return " %" if self.share else " s" if self.unit == "s" else ""


def counted(number: int, noun: str) -> str:
    """A number with its noun in singular or plural.

    Example:
        >>> counted(1, "run"), counted(2, "run")
        ('1 run', '2 runs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


_NATS = "nats per token"
_UNKNOWN = Wording(label="", digits=4, significant=True)
_COUNTED = {
    "mean": Wording(label="Mean", share=True, digits=1, also="Pass@1", note="Share of completions that are successes."),
    "majority": Wording(
        label="Majority", share=True, digits=1, note="Share of problems whose most frequent final answer is correct."
    ),
    "pass": Wording(
        label="Pass", share=True, digits=1, note="Share of problems that at least one of k completions solves."
    ),
}
"""Metrics of the form ``pass@k``."""

_BEYOND = {
    "above-hull": Wording(
        label="Pass@{k} above the hull",
        share=True,
        digits=1,
        note="Pass@{k} minus that of the best coin between points of the start and the baseline, at equal Mean.",
    ),
    "mean-above-hull": Wording(
        label="Mean above the hull (Pass@{k})",
        share=True,
        digits=1,
        note="Mean minus that of the best coin between points of the start and the baseline, at equal Pass@{k}.",
    ),
    "area-beyond-hull": Wording(
        label="Area beyond the hull (Pass@{k})",
        unit="points²",
        digits=0,
        note="Pass@{k} above the hull, summed over the Mean where the method is ahead; in squared percentage points.",
    ),
    "above-wide-hull": Wording(
        label="Pass@{k} above the wide hull",
        share=True,
        digits=1,
        note="As above the hull, with the means and mixtures of the weights, of the method and of the baseline.",
    ),
    "greedy": Wording(label="Greedy", share=True, digits=1, note="Share of problems that greedy decoding solves."),
}
"""Figures of frontiers, by the part of the name before the kind of weights and ``@k``."""

_WEIGHTS = {"-mix-ema": "mixtures with their mean", "-ema": "mean of the weights", "-mix": "mixtures of the weights"}

_WORDINGS = {
    "reward": Wording(label="Reward", note="Mean over the completions."),
    "entropy": Wording(label="Entropy", unit=_NATS, note="Entropy of the sampling policy, in nats per token."),
    "length": Wording(label="Length", unit="tokens", digits=1),
    "share_cut": Wording(
        label="Cut at the limit",
        share=True,
        digits=1,
        note="Share of completions that reached the length limit without ending.",
    ),
    "success_rate": Wording(
        label="Success rate", share=True, digits=1, note="Share of successes among the completions sampled in training."
    ),
    "entropy_success": Wording(label="Entropy of successes", unit=_NATS, note="In nats per token."),
    "entropy_failure": Wording(label="Entropy of failures", unit=_NATS, note="In nats per token."),
    "completion_length": Wording(
        label="Completion length",
        unit="tokens",
        digits=1,
        note="Tokens per completion, including the end-of-sequence token.",
    ),
    "negative_success_share": Wording(label="Negative in successes", share=True, digits=1),
    "positive_failure_share": Wording(label="Positive in failures", share=True, digits=1),
    "bonus_on_decisions": Wording(label="Bonus on decisions", share=True, digits=1),
    "penalty_on_decisions": Wording(label="Penalty on decisions", share=True, digits=1),
    "decisions_in_successes": Wording(label="Decisions among the tokens of successes", share=True, digits=1),
    "decisions_in_failures": Wording(label="Decisions among the tokens of failures", share=True, digits=1),
    "penalty_on_first_error": Wording(label="Penalty on the first false token", share=True, digits=2),
    "first_error_share": Wording(label="First false tokens among the tokens of failures", share=True, digits=2),
    "clip_low": Wording(label="Clipped low", share=True, digits=2),
    "clip_high": Wording(label="Clipped high", share=True, digits=2),
    "tokens_per_second": Wording(label="Tokens per second", digits=0),
}
_ORDER = (*_COUNTED, "reward", "entropy", "length", "share_cut")


def wording(metric: str) -> Wording:
    """How the metric of this name is shown. An unknown metric gets its name as label, and four significant digits.

    Example:
        >>> wording("above-hull-ema@32").label
        'Pass@32 above the hull, mean of the weights'
        >>> wording("pass@4").label, wording("grad_norm").value(0.25), wording("success_rate").difference(-0.05)
        ('Pass@4', '0.25', '-5.0 points')
    """
    kind, at, k = metric.partition("@")
    if at and k.isdecimal() and kind in _COUNTED:
        return replace(_COUNTED[kind], label=f"{_COUNTED[kind].label}@{k}")
    if metric in _WORDINGS:
        return _WORDINGS[metric]
    suffix = next((each for each in _WEIGHTS if kind.endswith(each)), "")
    if (words := _BEYOND.get(kind.removesuffix(suffix))) and (k.isdecimal() or kind.startswith("greedy")):
        of = f", {_WEIGHTS[suffix]}" if suffix else ""
        return replace(words, label=words.label.format(k=k) + of, note=words.note.format(k=k))
    if metric.startswith("kind/"):
        return _of_kind(metric)
    if metric.startswith("seconds_"):
        return Wording(label=metric.removeprefix("seconds_").capitalize(), unit="s", significant=True)
    return replace(_UNKNOWN, label=metric.replace("_", " ").capitalize())


def _of_kind(metric: str) -> Wording:
    """Of ``kind/OUTCOME/QUANTITY/NAME``."""
    _, outcome, quantity, name = metric.split("/", 3)
    label = f"{name} in {'successes' if outcome == 'success' else 'failures'}"
    if quantity == "share":
        return Wording(label=label, share=True, digits=1)
    return replace(_UNKNOWN, label=label, unit=_NATS if quantity == "entropy" else "")


def in_order(metrics: Iterable[str]) -> list[str]:
    """Names of metrics of held-out problems in the order in which they are shown.

    Example:
        >>> in_order(["length", "pass@16", "pass@4", "mean@16"])
        ['mean@16', 'pass@4', 'pass@16', 'length']
    """

    def place(metric: str) -> tuple[int, int, str]:
        kind, _, k = metric.partition("@")
        return _ORDER.index(kind) if kind in _ORDER else len(_ORDER), int(k) if k.isdecimal() else 0, metric

    return sorted(metrics, key=place)


def worth_showing(*evaluations: Mapping[str, float]) -> list[str]:
    """The names of the metrics that are shown for the evaluations, in order.

    ``pass@1`` is left out because it equals ``mean@n``. So is the reward if it equals ``mean@n``, as it does unless
    rewards are graded. The ends of intervals are not metrics.

    Example:
        >>> worth_showing({"mean@4": 0.5, "mean@4_low": 0.4, "pass@1": 0.5, "reward": 0.5, "problems": 8.0})
        ['mean@4']
        >>> worth_showing({"mean@4": 0.5, "reward": 0.625})
        ['mean@4', 'reward']
    """
    names = {name for metrics in evaluations for name in metrics if name.partition("@")[0] in _ORDER}
    names = {name for name in names if re.fullmatch(r"[a-z_]+(@\d+)?", name)} - {"pass@1"}
    if not any(_graded(metrics) for metrics in evaluations):
        names -= {"reward"}
    return in_order(names)


def _graded(metrics: Mapping[str, float]) -> bool:
    mean = next((value for name, value in metrics.items() if re.fullmatch(r"mean@\d+", name)), None)
    return "reward" in metrics and (mean is None or abs(metrics["reward"] - mean) > 1e-9)


def credit_number(value: float) -> str:
    """A token's entropy, shaped reward or advantage with four significant digits, as the credit viewer shows it.

    Example:
        >>> [credit_number(value) for value in (0.12345, -1.0, 0.0, 0.00001234, 12345.6)]
        ['0.1235', '-1', '0', '1.234e-5', '1.235e+4']
    """
    rounded = float(f"{value:.3e}")
    if rounded == 0 or 1e-4 <= abs(rounded) < 1e4:
        return f"{rounded + 0.0:.7f}".rstrip("0").rstrip(".")
    digits, _, power = f"{rounded:.3e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power):+d}"
