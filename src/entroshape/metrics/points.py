"""Points of an evaluation: the successes per held-out problem under one setting of weights, step and temperature.

A held-out set is split into two halves. Settings are chosen on the choice half and reported on the report half.
Needs only NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entroshape.checks import check_integer, check_number
from entroshape.metrics.pass_at_k import pass_at_k
from entroshape.printable import shown

WEIGHTS = re.compile(r"start|last|ema|mix(-ema)?:\d+(\.\d+)?")
"""What :attr:`EvaluationPoint.weights` may be."""


REPORTED = (16, 32)
"""The values of ``k`` that are reported if there are as many samples; otherwise only the number of samples is."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPoint:
    """Successes on the held-out problems, for one setting of weights, step and temperature.

    Raises:
        ValueError: a field is invalid; the message names it, what was expected and what was given.

    Example:
        >>> point = EvaluationPoint(weights="last", step=100, temperature=0.6, samples=4, successes=(1, 0, 4, 2))
        >>> point.mean, point.pass_at(4), point.select(report_half(4)).successes
        (0.4375, 0.75, (0, 2))
    """

    weights: str
    """``"start"``, ``"last"``, ``"ema"``, or a mixture ``(1 - a) start + a trained``: ``"mix:a"`` with the last
    weights, ``"mix-ema:a"`` with their exponential mean."""

    step: int
    """Training step of the weights; 0 for ``"start"``."""

    temperature: float
    """Sampling temperature; 0 is greedy decoding."""

    samples: int
    """Number of completions per problem. 1 for greedy decoding, which gives the same completion every time."""

    successes: tuple[int, ...]
    """Number of successes among the completions of each held-out problem, in the order of the task."""

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str) or not WEIGHTS.fullmatch(self.weights):
            raise ValueError(f"weights must be start, last, ema, mix:A or mix-ema:A; got {shown(self.weights)}")
        check_integer("step", self.step)
        if self.weights == "start" and self.step:
            raise ValueError(f"step must be 0 for the start's weights; got {self.step}")
        check_number("temperature", self.temperature, minimum=0.0)
        check_integer("samples", self.samples, minimum=1)
        if self.temperature == 0 and self.samples != 1:
            raise ValueError(
                f"samples must be 1 at temperature 0, which always gives one completion; got {self.samples}"
            )
        if not isinstance(self.successes, tuple) or not self.successes:
            raise ValueError(f"successes must be a tuple with one count per problem; got {shown(self.successes)}")
        _check_integers("successes", self.successes, self.samples)

    @property
    def setting(self) -> tuple[str, int, float]:
        """Weights, step and temperature, which identify the point among those of a run."""
        return self.weights, self.step, self.temperature

    @property
    def sampling(self) -> str:
        """The temperature in words: ``"T 0.6"`` or ``"greedy"``."""
        return f"T {self.temperature:g}" if self.temperature else "greedy"

    @property
    def name(self) -> str:
        """The setting in words.

        Example:
            >>> EvaluationPoint(weights="mix:0.5", step=100, temperature=0.6, samples=4, successes=(1, 0)).name
            '0.5 trained + 0.5 start, step 100, T 0.6'
        """
        kind, _, share = self.weights.partition(":")
        trained = "mean of the weights" if kind.endswith("ema") else "trained"
        weights = {"start": "start", "last": "", "ema": trained}.get(kind)
        if weights is None:
            weights = f"{share} {trained} + {1 - float(share):.4g} start"
        step = "" if kind == "start" else f"step {self.step}"
        return ", ".join(filter(None, (weights, step, self.sampling)))

    @property
    def problems(self) -> int:
        """Number of held-out problems."""
        return len(self.successes)

    @property
    def mean(self) -> float:
        """Mean@n: the share of successes among all completions."""
        return sum(self.successes) / (self.samples * self.problems)

    def pass_at(self, k: int) -> float:
        """Pass@k, the mean over problems of the unbiased estimate (:func:`~entroshape.metrics.pass_at_k.pass_at_k`).

        For greedy decoding it is the mean for every ``k``.

        Raises:
            ValueError: ``k`` is not from 1 to the number of samples, unless the point is greedy.
        """
        return float(1 - self.failures(k)[:, k].mean())

    def failures(self, k: int) -> NDArray[np.float64]:
        r"""The unbiased estimate of the probability that the first ``j`` completions all fail, for ``j`` up to ``k``.

        :math:`\binom{n - c}{j} / \binom{n}{j}`, for :math:`j = 0, \dots, k`: all of ``j`` completions that are drawn
        without replacement fail. Under greedy decoding all ``j`` are the same completion.

        Returns:
            ``[P, k + 1]``; the first column is 1.

        Raises:
            ValueError: ``k`` is not from 1 to the number of samples, unless the point is greedy.
        """
        check_integer("k", k, minimum=1, maximum=None if self.temperature == 0 else self.samples)
        if self.temperature == 0:
            failed = 1.0 - np.asarray(self.successes, dtype=np.float64)
            return np.concatenate([np.ones((self.problems, 1)), np.tile(failed[:, None], k)], axis=1)
        return _all_fail(self.samples, k)[np.asarray(self.successes)]

    def select(self, positions: Sequence[int]) -> EvaluationPoint:
        """The point over the problems at these positions only, such as those of :func:`choice_half`.

        Raises:
            ValueError: a position is not a position of a problem, or there are none.
        """
        _check_integers("positions", positions, self.problems - 1)
        return replace(self, successes=tuple([self.successes[position] for position in positions]))

    def to_dict(self) -> dict[str, Any]:
        """The fields, as they are written to a file."""
        return {**asdict(self), "successes": list(self.successes)}

    @classmethod
    def from_dict(cls, value: Any, where: str = "point") -> EvaluationPoint:
        """The inverse of :meth:`to_dict`, for content that was read from a file.

        Raises:
            ValueError: the value is not a point; the message begins with ``where``.
        """
        names = [each.name for each in fields(cls)]
        if not isinstance(value, Mapping) or sorted(map(str, value)) != sorted(names):
            raise ValueError(f"{where} must be an object with {', '.join(names)}; got {shown(value)}")
        successes = value["successes"]
        try:
            return cls(**{**value, "successes": tuple(successes) if isinstance(successes, list) else successes})
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def reported_tries(points: Sequence[EvaluationPoint]) -> list[int]:
    """The values of ``k`` for which figures are reported: 16 and 32 if there are as many samples.

    Example:
        >>> [reported_tries([EvaluationPoint(weights="start", step=0, temperature=1.0, samples=n, successes=(1, 0))])
        ...  for n in (4, 24, 64)]
        [[4], [16], [16, 32]]
    """
    samples = min((point.samples for point in points if point.temperature > 0), default=1)
    return tries_of(samples)


def tries_of(samples: int) -> list[int]:
    """The values of ``k`` for which figures are reported with this number of completions per problem."""
    return [k for k in REPORTED if k <= samples] or [samples]


def _check_integers(name: str, values: Sequence[object], maximum: int) -> None:
    if set(map(type, values)) - {int} or (values and not 0 <= min(values) <= max(values) <= maximum):  # type: ignore
        for place, value in enumerate(values):
            check_integer(f"{name}[{place}]", value, maximum=maximum)


@lru_cache(maxsize=64)
def _all_fail(samples: int, k: int) -> NDArray[np.float64]:
    """``[samples + 1, k + 1]``: by number of successes, the probability that ``j`` of the completions all fail."""
    fails = 1 - pass_at_k(samples, np.arange(samples + 1)[:, None], np.arange(1, k + 1)[None, :])
    return np.concatenate([np.ones((samples + 1, 1)), fails], axis=1)


def choice_half(problems: int) -> range:
    """Positions of the held-out problems on which settings are chosen: the even ones.

    Raises:
        ValueError: there are fewer than two problems.

    Example:
        >>> list(choice_half(5)), list(report_half(5))
        ([0, 2, 4], [1, 3])
    """
    check_integer("problems", problems, minimum=2)
    return range(0, problems, 2)


def report_half(problems: int) -> range:
    """Positions of the held-out problems on which chosen settings are reported: the odd ones.

    Raises:
        ValueError: there are fewer than two problems.
    """
    check_integer("problems", problems, minimum=2)
    return range(1, problems, 2)
