"""Entropy and credit per kind of token: plain sums over the rollouts of a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from entroshape.metrics.wording import wording
from entroshape.printable import printable

Response = Mapping[str, Any]
"""A row of :meth:`entroshape.runs.RunDirectory.read_rollouts`."""

DECISIONS, FIRST_ERROR = "all decisions", "first false token"
"""Names of rows that sum over tokens of several kinds."""

HEADINGS = ("tokens", "share", "entropy", "weight", "of weights", "advantage", "of credit")
"""Of :func:`kind_texts`."""
WIDTHS = (6, 6, 9, 8, 7, 9, 6)
"""Characters that these columns have at least in the terminal, so that no figure is cut."""


@dataclass(frozen=True, kw_only=True)
class KindRow:
    """One kind of token in the successes, or in the failures. A mean or share of nothing is ``None``.

    Weights and advantages are those of the completions that get credit, that is, that are not gated.
    """

    kind: str
    success: bool
    summary: bool
    """Whether the row sums over tokens of several kinds."""

    tokens: int
    """Number of tokens of this kind."""

    share: float
    """Share of the outcome's tokens."""

    entropy: float | None
    """Mean entropy in nats; ``None`` if the rollouts have no entropies."""

    weight: float | None
    """Mean weight; ``None`` if the method weighs nothing."""

    weight_share: float | None
    """Share of the outcome's weights: of the bonus of successes, of the penalty of failures."""

    advantage: float | None
    """Mean advantage."""

    advantage_share: float | None
    """Share of the sum of the magnitudes of the outcome's advantages."""


def credit_by_kind(rows: Sequence[Response]) -> list[KindRow]:
    """Entropy and credit of each kind of token: successes first, kinds in order of first occurrence.

    Args:
        rows: rollouts with the column ``kind``.

    Returns:
        One row per outcome and kind that occurs, then the rows :data:`DECISIONS` and :data:`FIRST_ERROR` if the
        rollouts mark these tokens; none if no rollout names its kinds.
    """
    tokens = [token for row in rows for token in _tokens(row)]
    kinds = list(dict.fromkeys(token["kind"] for token in tokens))
    found = []
    for success in (True, False):
        whole = [token for token in tokens if token["success"] is success]
        parts = [(kind, False, [token for token in whole if token["kind"] == kind]) for kind in kinds]
        parts.append((DECISIONS, True, [token for token in whole if token.get("decision")]))
        parts.append((FIRST_ERROR, True, [token for token in whole if token.get("first_error")]))
        found += [_row(kind, success, summary, own, whole) for kind, summary, own in parts if own]
    return found


def kind_texts(row: KindRow) -> list[str]:
    """The figures of a row as text, under :data:`HEADINGS`; "-" where there is none."""
    outcome = "success" if row.success else "failure"
    values = (
        *(("share", row.share), ("entropy", row.entropy), ("weight", row.weight), ("share", row.weight_share)),
        *(("advantage", row.advantage), ("share", row.advantage_share)),
    )
    texts = ["-" if value is None else wording(f"kind/{outcome}/{name}/").value(value) for name, value in values]
    return [str(row.tokens), *texts]


def kinds_table(rows: Sequence[KindRow], title: str) -> Table:
    """The rows as a table for the terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("kind", overflow="fold", min_width=9)
    for heading, width in zip(HEADINGS, WIDTHS, strict=True):
        table.add_column(heading, justify="right", min_width=width)
    for success, name in ((True, "successes"), (False, "failures")):
        own = [row for row in rows if row.success is success]
        if own:
            table.add_row(Text(name, style="bold blue" if success else "bold red"))
        for place, row in enumerate(own):
            last = place == len(own) - 1 or own[place + 1].summary > row.summary
            kind = Text(printable(row.kind), style="italic" if row.summary else "")
            table.add_row(kind, *kind_texts(row), end_section=last)
    return table


def kinds_of_step(rows: Sequence[Response]) -> list[dict[str, Any]]:
    """The rows for the page: ``kind``, ``success``, ``summary`` and ``texts``."""
    return [
        {"kind": row.kind, "success": row.success, "summary": row.summary, "texts": kind_texts(row)}
        for row in credit_by_kind(rows)
    ]


def _row(
    kind: str, success: bool, summary: bool, own: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]
) -> KindRow:
    mine, all_ = ([token for token in tokens if not token["gated"]] for tokens in (own, whole))
    return KindRow(
        kind=kind,
        success=success,
        summary=summary,
        tokens=len(own),
        share=len(own) / len(whole),
        entropy=_mean(token["entropy"] for token in own),
        weight=_mean(token["weight"] for token in mine),
        weight_share=_part((token["weight"] for token in mine), (token["weight"] for token in all_)),
        advantage=_mean(token["advantage"] for token in mine),
        advantage_share=_part((abs(token["advantage"]) for token in mine), (abs(token["advantage"]) for token in all_)),
    )


def _tokens(row: Response) -> list[dict[str, Any]]:
    """Each token of a rollout that names its kinds, with its values; ``None`` for those that it lacks."""
    names = ("kind", "entropy", "weight", "advantage", "decision", "first_error")
    if not row.get("kind"):
        return []
    columns = [row.get(name) or [None] * len(row["kind"]) for name in names]
    outcome = {"success": row["success"], "gated": row["gated"]}
    return [dict(zip(names, values, strict=True)) | outcome for values in zip(*columns, strict=True)]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) / len(known) if known else None


def _part(own: Iterable[float | None], whole: Iterable[float | None]) -> float | None:
    mine, total = (fsum(value for value in values if value is not None) for values in (own, whole))
    return mine / total if total else None
