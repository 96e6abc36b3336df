"""A weighted sum of methods: their advantages are added, and the policy is trained with the objective they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from entroshape.checks import check_number
from entroshape.credit.bounds import MAX_COEFFICIENT
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.methods.base import Credit, Method
from entroshape.methods.stateful import Stateful
from entroshape.rollouts import Rollouts

_OF_THE_SUM = ("success_threshold", "overlong")
"""Options that hold for all terms, so they are set on the sum."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """A method in a :class:`Sum`, and its weight.

    Raises:
        ValueError: the method is not a method, or the weight is 0 or out of range.
    """

    method: Method
    """The method with its options."""

    weight: float = 1.0
    """Its advantages are multiplied by this number, which may be negative."""

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise ValueError(f"method of a term must be a method such as GTPO(); got {self.method!r}")
        if isinstance(self.method, Stateful):
            raise ValueError(f"method of a term must have no state between steps; got {self.method!r}")
        check_number("weight", self.weight, minimum=-MAX_COEFFICIENT, maximum=MAX_COEFFICIENT)
        if self.weight == 0:
            raise ValueError("weight of a term must not be 0, which would have no effect; remove the term")


@dataclass(frozen=True, kw_only=True)
class Sum(Method):
    """The weighted sum ``A = sum_k w_k A_k`` of the advantages of several methods.

    The methods must be trained with the same objective on the same tokens. Shaped rewards are added in the same way. A
    completion is gated if all terms gate it. If a term assigns credit to tokens, so does the sum.

    Raises:
        ValueError: there is no term, terms cannot be summed (the message names both), or an option is invalid.

    Example:
        >>> from entroshape import DAPO, GTPO
        >>> H = torch.tensor([[0.2, 1.0], [0.6, 1.0], [0.4, 0.1], [0.4, 0.3]])
        >>> rollouts = Rollouts(rewards=torch.tensor([1.0, 1.0, 0.0, 0.0]), entropies=H, mask=torch.ones(4, 2),
        ...                     group=torch.zeros(4, dtype=torch.long))
        >>> mixed = Sum(terms=(Term(method=GTPO(), weight=0.5), Term(method=DAPO(), weight=0.5)))
        >>> torch.allclose(mixed.advantages(rollouts),
        ...                0.5 * GTPO().advantages(rollouts) + 0.5 * DAPO().advantages(rollouts)[:, None])
        True
    """

    name: ClassVar[str] = "sum"

    terms: tuple[Term, ...] = ()
    """The methods with their weights. In YAML: ``[{method: gtpo, weight: 0.5, options: {alpha2: 0.2}}, ...]``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.terms, tuple) and self.terms and all(isinstance(each, Term) for each in self.terms)):
            raise ValueError(f"terms must be a tuple of at least one Term; got {self.terms!r}")
        for term in self.terms:
            self._check_shared(term.method)
        # Terms are kept without what they take from the sum, so that it can be replaced.
        plain = {option: getattr(Method, option) for option in _OF_THE_SUM}
        terms = [replace(term, method=replace(term.method, **plain)) for term in self.terms]
        object.__setattr__(self, "terms", tuple(terms))
        for term in self.terms[1:]:
            _check_together(self.terms[0].method, term.method)

    @property
    def _shared(self) -> dict[str, Any]:
        return {option: getattr(self, option) for option in _OF_THE_SUM}

    def _check_shared(self, method: Method) -> None:
        for option, value in self._shared.items():
            own = getattr(method, option)
            if own not in (value, getattr(Method, option)):
                raise ValueError(
                    f"{option} must be set on the sum, for all terms: the sum has {value!r}, and its term "
                    f"{type(method).__name__} has {own!r}"
                )

    @property
    def dynamic_sampling(self) -> bool:  # type: ignore[override]
        """Whether a term, as published, replaces one-outcome groups."""
        return any(term.method.dynamic_sampling for term in self.terms)

    @property
    def selects_tokens(self) -> bool:  # type: ignore[override]
        """See :attr:`Method.selects_tokens`."""
        return any(term.method.selects_tokens for term in self.terms)

    @property
    def surrogate(self) -> ClippedSurrogate:
        """The objective that all terms share."""
        return self.terms[0].method.surrogate

    @property
    def needs(self) -> frozenset[str]:
        """All that a term needs."""
        return frozenset[str]().union(*(term.method.needs for term in self.terms))

    def assign(self, rollouts: Rollouts, generator: torch.Generator | None = None) -> Credit:
        """Shaped rewards and advantages, ``[B, T]`` if those of a term are, otherwise ``[B]``.

        Raises:
            ValueError: two terms train on different tokens, or as for :meth:`Method.assign`.
        """
        self._require(rollouts)
        credits = [replace(term.method, **self._shared).assign(rollouts, generator) for term in self.terms]
        first = credits[0]
        for term, credit in zip(self.terms[1:], credits[1:], strict=True):
            for part in ("loss_mask", "success"):
                if not torch.equal(getattr(credit, part), getattr(first, part)):
                    raise _apart(self.terms[0].method, term.method, f"the {part} of their credit differs")
        if any(credit.advantages.ndim == 2 for credit in credits):
            credits = [credit.per_token(rollouts.mask) for credit in credits]
        weights = [term.weight for term in self.terms]
        return Credit(
            shaped_rewards=_weighted([credit.shaped_rewards for credit in credits], weights),
            advantages=_weighted([credit.advantages for credit in credits], weights),
            loss_mask=first.loss_mask,
            success=first.success,
            gated=torch.stack([credit.gated for credit in credits]).all(dim=0),
        )


def _weighted(values: list[Tensor], weights: list[float]) -> Tensor:
    total = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total = total + weight * value
    return total


def _check_together(first: Method, other: Method) -> None:
    """Raises ``ValueError`` unless both methods are trained with the same objective on the same tokens."""
    one, two = first.surrogate, other.surrogate
    if type(one) is not type(two):
        raise _apart(first, other, f"their objectives are {type(one).__name__} and {type(two).__name__}")
    for option in fields(one):
        mine, theirs = getattr(one, option.name), getattr(two, option.name)
        if mine != theirs:
            raise _apart(first, other, f"{option.name} of their objectives is {mine!r} and {theirs!r}")
    if first.selects_tokens != other.selects_tokens:
        chooser = type(first if first.selects_tokens else other).__name__
        raise _apart(first, other, f"{chooser} trains on some tokens only")


def _apart(first: Method, other: Method, why: str) -> ValueError:
    return ValueError(f"{type(first).__name__} and {type(other).__name__} cannot be summed: {why}")


def terms_from_options(value: Any, build: Callable[[str, Mapping[str, Any]], Method]) -> tuple[Term, ...]:
    """Terms from plain values ``[{"method": NAME, "weight": 0.5, "options": {...}}, ...]``.

    Args:
        value: the plain values; objects of :class:`Term` stay as they are.
        build: builds a method from its name and options.

    Raises:
        ValueError: a term has another form; the message names its place.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"terms must be a list such as [{{method: gtpo, weight: 0.5}}, {{method: dapo}}]; got {value!r}"
        )
    return tuple(each if isinstance(each, Term) else _term(each, place, build) for place, each in enumerate(value))


def _term(value: Any, place: int, build: Callable[[str, Mapping[str, Any]], Method]) -> Term:
    if not isinstance(value, Mapping) or not isinstance(value.get("method"), str):
        raise ValueError(f"terms[{place}] must have a method, such as {{method: gtpo, weight: 0.5}}; got {value!r}")
    if unknown := [key for key in value if key not in ("method", "weight", "options")]:
        raise ValueError(f"terms[{place}] may have method, weight and options; got {unknown[0]!r}")
    options = value.get("options", {})
    if not isinstance(options, Mapping):
        raise ValueError(f"options of terms[{place}] must be a mapping such as {{alpha2: 0.2}}; got {options!r}")
    try:
        return Term(method=build(value["method"], options), weight=value.get("weight", 1.0))
    except ValueError as error:
        raise ValueError(f"terms[{place}]: {error}") from error


def terms_to_options(
    terms: tuple[Term, ...], described: Callable[[Method], tuple[str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """The inverse of :func:`terms_from_options`. ``described`` gives a method's name and options."""
    plain = []
    for term in terms:
        name, options = described(term.method)
        own = {option: value for option, value in options.items() if option not in _OF_THE_SUM}
        plain.append({"method": name, "weight": term.weight, "options": own})
    return plain
