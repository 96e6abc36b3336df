"""The sentence of a report that says what training gave beyond sampling the start at another temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from entroshape.metrics.margins import best_mean
from entroshape.metrics.pass_at_k import bootstrap_interval
from entroshape.metrics.points import EvaluationPoint
from entroshape.metrics.wording import wording


def beyond_the_start(points: Sequence[EvaluationPoint]) -> str | None:
    """What the last weights gain over the start, each at the temperature that gives it the highest mean.

    The temperatures are chosen on one half of the held-out problems, and the means are those of the other half.

    Returns:
        One sentence; ``None`` if the start or the last weights were evaluated at one temperature only, or on fewer than
        four problems.

    Example:
        >>> def point(weights, step, temperature, successes):
        ...     return EvaluationPoint(
        ...         weights=weights, step=step, temperature=temperature, samples=4, successes=successes * 8
        ...     )
        >>> start = [point("start", 0, 0.2, (2, 1)), point("start", 0, 1.0, (1, 1))]
        >>> trained = [point("last", 9, 0.2, (3, 3)), point("last", 9, 1.0, (2, 2))]
        >>> print(beyond_the_start([*start, *trained]))
        Beyond sampling the start colder, the success rate rose from 25.0 % to 75.0 % (+50.0 points, 95 % interval
        +50.0 to +50.0): the best temperature of the start (T 0.2) against the best of the trained weights (T 0.2),
        each chosen on the other half of the problems.
    """
    last = max((point.step for point in points if point.weights == "last"), default=0)
    both = [[point for point in points if point.setting[:2] == wanted] for wanted in (("start", 0), ("last", last))]
    if min(len(own) for own in both) < 2 or points[0].problems < 4:
        return None
    start, trained = map(best_mean, both)
    low, high = bootstrap_interval(_rates(trained) - _rates(start))
    words, change = wording("success_rate"), trained.mean - start.mean
    verb = "rose" if low > 0 else "fell" if high < 0 else "went"
    clear = "" if verb != "went" else ", no clear change"
    return (
        f"Beyond sampling the start colder, the success rate {verb} from {words.value(start.mean)} to "
        f"{words.value(trained.mean)} ({words.difference(change)}, 95 % interval "
        f"{words.interval(low, high, signed=True)}{clear}): the best temperature of the start ({start.sampling}) "
        f"against the best of the trained weights ({trained.sampling}), each chosen on the other half of the "
        "problems."
    )


def _rates(point: EvaluationPoint) -> NDArray[np.float64]:
    return np.asarray(point.successes) / point.samples
