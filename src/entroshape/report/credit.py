"""The data of the credit viewer: the kept rollouts, token by token, as compact plain values within a byte budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Any, TypeVar

from entroshape.report.html import embedded_json
from entroshape.report.kinds import HEADINGS, Response, kinds_of_step
from entroshape.runs import RunDirectory

BUDGET = 3_000_000
"""Bytes that the rollouts may take in a report. Together with the chart library it then stays well below 5 MB."""

QUANTITIES = ("entropy", "weight", "shaped_reward", "advantage")
V = TypeVar("V")


class Vocabulary:
    """Every distinct token once, as ``[text, id]``, and every kind; completions refer to them by index."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, int]] = []
        self.size = 0
        """Bytes that the tokens take in the page, where an escaped character takes six."""
        self._places: dict[tuple[str, int], int] = {}
        self._kinds: dict[str, int] = {}

    def kind(self, name: str) -> int:
        """The index of a kind of token, which is added if it is new."""
        return self._kinds.setdefault(name, len(self._kinds))

    @property
    def kinds(self) -> list[str]:
        """Every distinct kind of token once."""
        return list(self._kinds)

    def place(self, text: str, token_id: int) -> int:
        """The index of the token, which is added if it is new."""
        token = (text, token_id)
        if token not in self._places:
            self._places[token] = len(self.tokens)
            self.tokens.append(token)
            self.size += _size(token)
        return self._places[token]

    def cut(self, count: int) -> None:
        """Removes all tokens after the first ``count``: those of rollouts that turned out not to fit."""
        for token in self.tokens[count:]:
            del self._places[token]
            self.size -= _size(token)
        del self.tokens[count:]


def credit_data(run: RunDirectory, *, budget: int = BUDGET) -> dict[str, Any]:
    """The rollouts that the viewer shows.

    Steps are added while they fit: the last, the first, then those that halve the widest gap. If the last step does not
    fit, its first groups are kept as far as they fit; if its first group does not fit, the first completions of it.

    Args:
        run: a run directory.
        budget: bytes that the rollouts and their tokens may take in the page.

    Returns:
        ``steps`` (each with ``step``, ``groups`` and the ``kinds`` of its tokens, see
        :func:`~entroshape.report.kinds.kinds_of_step`), ``tokens`` and ``kinds`` (the :class:`Vocabulary`),
        ``headings`` of the table of kinds, and ``left_out``: the number of ``steps``, and of ``groups``
        and ``responses`` of the last step, that did not fit.

    Raises:
        ValueError: a file of rollouts is damaged.
    """
    steps: list[dict[str, Any]] = []
    vocabulary, spent = Vocabulary(), 0  # bytes of the steps, without those of the tokens
    left_out = {"steps": 0, "groups": 0, "responses": 0}
    for step in by_halves(run.rollout_steps()):
        every = run.read_rollouts(step)
        rows, known, kinds = groups_of(every), len(vocabulary.tokens), kinds_of_step(every)
        groups = [_group(group, vocabulary) for group in rows]
        size = _size({"step": step, "groups": groups, "kinds": kinds})
        if spent + size + vocabulary.size > budget:
            vocabulary.cut(known)
            if steps:
                left_out["steps"] += 1
                continue
            groups = _within(rows, vocabulary, budget)
            left_out["groups"] = len(rows) - len(groups)
            left_out["responses"] = len(rows[0]) - len(groups[0]["responses"])
            size = _size({"step": step, "groups": groups, "kinds": kinds})
        spent += size
        steps.append({"step": step, "groups": groups, "kinds": kinds})
    steps.sort(key=lambda each: each["step"])
    words = {"tokens": vocabulary.tokens, "kinds": vocabulary.kinds, "headings": HEADINGS}
    return {"steps": steps, **words, "left_out": left_out}


def groups_of(rows: Sequence[Response]) -> list[list[Response]]:
    """The rows of a step, one list per group, in the order of the group numbers."""
    ordered = sorted(rows, key=lambda row: row["group"])
    return [list(group) for _, group in groupby(ordered, key=lambda row: row["group"])]


def by_halves(values: Sequence[int]) -> list[int]:
    """The last value, the first, then repeatedly the middle of the widest gap. Any prefix is spread evenly.

    Example:
        >>> by_halves([1, 10, 20, 30, 40])
        [40, 1, 20, 10, 30]
    """
    order = [len(values) - 1, 0][: len(values)]
    while len(order) < len(values):
        marks = sorted(order)
        width, start = max((b - a, -a) for a, b in pairwise(marks))
        order.append(-start + width // 2)
    return [values[place] for place in order]


def _group(rows: Sequence[Response], vocabulary: Vocabulary) -> dict[str, Any]:
    return {"prompt": rows[0]["prompt"], "responses": [_response(row, vocabulary) for row in rows]}


def _response(row: Response, vocabulary: Vocabulary) -> dict[str, Any]:
    ids = row["token_ids"] or [-1] * len(row["tokens"])
    return {
        "tokens": [vocabulary.place(text, token_id) for text, token_id in zip(row["tokens"], ids, strict=True)],
        **({"kinds": [vocabulary.kind(kind) for kind in row["kind"]]} if "kind" in row else {}),
        **({"first_error": row["first_error"].index(True)} if any(row.get("first_error", [])) else {}),
        **{name: compact(row.get(name, [])) for name in QUANTITIES},
        "reward": _short(row["reward"]),
        "success": row["success"],
        "gated": row["gated"],
    }


def compact(values: Sequence[float]) -> list[float] | float | None:
    """Values with four digits: one number if all are equal, as at the sequence level; ``None`` if there are none.

    Example:
        >>> compact([0.12345, 0.5]), compact([0.5, 0.5]), compact([])
        ([0.1235, 0.5], 0.5, None)
    """
    short = [_short(value) for value in values]
    if not short:
        return None
    return short[0] if len(short) > 1 and len(set(short)) == 1 else short


def _size(value: Any) -> int:
    """Bytes in the page, with the comma that follows."""
    return len(embedded_json(value)) + 1


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _within(groups: Sequence[Sequence[Response]], vocabulary: Vocabulary, budget: int) -> list[dict[str, Any]]:
    """The first groups that fit; if the first does not, its first completions that fit, and at least one."""
    kept = _first(groups, _group, vocabulary, budget)
    if kept:
        return kept
    prompt = groups[0][0]["prompt"]
    left = budget - _size(prompt)
    return [{"prompt": prompt, "responses": _first(groups[0], _response, vocabulary, left, least=1)}]


def _first(
    values: Sequence[V],
    encode: Callable[[V, Vocabulary], dict[str, Any]],
    vocabulary: Vocabulary,
    budget: int,
    least: int = 0,
) -> list[dict[str, Any]]:
    """The first of ``values``, encoded, that fit together with their tokens, and at least ``least`` of them."""
    kept: list[dict[str, Any]] = []
    for value in values:
        known, before = len(vocabulary.tokens), vocabulary.size
        encoded = encode(value, vocabulary)
        budget -= _size(encoded) + vocabulary.size - before
        if budget < 0 and len(kept) >= least:
            vocabulary.cut(known)
            break
        kept.append(encoded)
    return kept
