"""A method with a state, whose credit differs from step to step: a state that is lost or repeated shows."""

from dataclasses import dataclass, replace

from entroshape import Stateful
from entroshape.methods import GTPORandom


@dataclass(frozen=True, kw_only=True)
class Stepping(GTPORandom, Stateful):
    """The random control, times 1 + 0.1 for each step so far."""

    initial_state = {"steps": 0.0}  # noqa: RUF012 - never changed
    assign = Stateful.assign

    def assign_from(self, rollouts, state, generator=None):
        credit = GTPORandom.assign(self, rollouts, generator)
        scaled = replace(credit, advantages=(1 + 0.1 * state["steps"]) * credit.advantages)
        return scaled, {"steps": state["steps"] + 1}
