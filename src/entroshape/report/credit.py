"""What the credit viewer shows: the kept rollouts, token by token, as compact plain values within a budget of bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from entroshape.runs import RunDirectory

BUDGET = 3_000_000
"""Bytes of JSON that a report spends on rollouts; with the charts' library it then stays well below 5 MB."""

QUANTITIES = ("entropy", "shaped_reward", "advantage")
Response = Mapping[str, Any]
"""A row of :meth:`entroshape.runs.RunDirectory.read_rollouts`."""


class Vocabulary:
    """Every distinct token once, as ``[text, id]``; responses name them by place."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, int]] = []
        self._places: dict[tuple[str, int], int] = {}

    def place(self, text: str, token_id: int) -> int:
        """Where the token stands, put there if it is new."""
        token = (text, token_id)
        if token not in self._places:
            self._places[token] = len(self.tokens)
            self.tokens.append(token)
        return self._places[token]


def credit_data(run: RunDirectory, *, budget: int = BUDGET) -> dict[str, Any]:
    """The rollouts that the viewer shows.

    Steps are taken from the ends inwards while they fit: the last, the first, then those that halve the widest gap. Of
    the last step, groups are kept while they fit, and of a first group that is too large by itself, responses.

    Args:
        run: a run directory.
        budget: bytes of JSON that the rollouts may take, about.

    Returns:
        ``steps`` (each ``step`` and ``groups``), ``tokens`` (the :class:`Vocabulary`), and ``left_out``: how many
        ``steps``, and how many ``groups`` and ``responses`` of the last step, did not fit.

    Raises:
        ValueError: a file of the rollouts is damaged.
    """
    steps: list[dict[str, Any]] = []
    vocabulary, spent = Vocabulary(), 0
    left_out = {"steps": 0, "groups": 0, "responses": 0}
    for step in by_halves(run.rollout_steps()):
        rows = run.read_rollouts(step)
        groups = [_group(group, vocabulary) for group in groups_of(rows)]
        size = len(json.dumps(groups))
        if not steps and size > budget:
            whole, groups = groups, _within(groups, budget)
            left_out["groups"] = len(whole) - len(groups)
            left_out["responses"] = len(whole[0]["responses"]) - len(groups[0]["responses"])
        elif spent + size > budget:
            left_out["steps"] += 1
            continue
        spent += size
        steps.append({"step": step, "groups": groups})
    steps.sort(key=lambda each: each["step"])
    return {"steps": steps, "tokens": vocabulary.tokens, "left_out": left_out}


def groups_of(rows: Sequence[Response]) -> list[list[Response]]:
    """The rows of a step, one list a group, in the order of the groups' numbers."""
    ordered = sorted(rows, key=lambda row: row["group"])
    return [list(group) for _, group in groupby(ordered, key=lambda row: row["group"])]


def by_halves(values: Sequence[int]) -> list[int]:
    """The last, the first, then always the middle of the widest gap: any first few are spread evenly.

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
        **{name: compact(row[name]) for name in QUANTITIES},
        "reward": _short(row["reward"]),
        "success": row["success"],
        "gated": row["gated"],
    }


def compact(values: Sequence[float]) -> list[float] | float | None:
    """Values with four digits; one number where all are equal, as a response's credit is; ``None``: there are none.

    Example:
        >>> compact([0.12345, 0.5]), compact([0.5, 0.5]), compact([])
        ([0.1235, 0.5], 0.5, None)
    """
    short = [_short(value) for value in values]
    if not short:
        return None
    return short[0] if len(short) > 1 and len(set(short)) == 1 else short


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _within(groups: list[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    """As many of the first groups as fit; of a first one that does not, as many of its responses, at least one."""
    kept, spent = [], 0
    for group in groups:
        size = len(json.dumps(group))
        if spent + size > budget:
            break
        kept.append(group)
        spent += size
    return kept or [{**groups[0], "responses": _responses_within(groups[0]["responses"], budget)}]


def _responses_within(responses: list[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    sizes = np.cumsum([len(json.dumps(response)) for response in responses])
    return responses[: max(1, int((sizes <= budget).sum()))]
