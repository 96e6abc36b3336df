"""Entropy and credit per kind of token: plain sums over the rollouts of a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from rich import box
from rich.table import Table
from rich.text import Text

from entroshape.metrics.wording import credit_number
from entroshape.printable import printable
from entroshape.report.credit import Response


@dataclass(frozen=True, kw_only=True)
class KindRow:
    """One kind of token. A mean over no tokens is ``None``."""

    kind: str
    tokens: int
    """Number of tokens of this kind."""

    share: float
    """Share of all tokens."""

    entropy: float | None
    """Mean entropy in nats; ``None`` if the rollouts have no entropies."""

    success_reward: float | None
    """Mean shaped reward in successes; GTPO's includes the weight of the token."""

    failure_reward: float | None
    """Mean shaped reward in failures."""

    success_advantage: float | None
    """Mean advantage in successes."""

    failure_advantage: float | None
    """Mean advantage in failures."""

    raised: float | None
    """Share of the sum of all positive advantages."""

    lowered: float | None
    """Share of the sum of all negative advantages."""


def credit_by_kind(rows: Sequence[Response]) -> list[KindRow]:
    """Entropy and credit of each kind of token, in order of first occurrence.

    Args:
        rows: rollouts with the column ``kind``.

    Returns:
        One row per kind; none if no rollout names its kinds.
    """
    tokens = [token for row in rows for token in _tokens(row)]
    kinds = list(dict.fromkeys(token["kind"] for token in tokens))
    raised = fsum(max(token["advantage"], 0.0) for token in tokens)
    lowered = fsum(min(token["advantage"], 0.0) for token in tokens)
    found = []
    for kind in kinds:
        own = [token for token in tokens if token["kind"] == kind]
        good, bad = ([token for token in own if token["success"] is outcome] for outcome in (True, False))
        found.append(
            KindRow(
                kind=kind,
                tokens=len(own),
                share=len(own) / len(tokens),
                entropy=_mean(token["entropy"] for token in own if "entropy" in token),
                success_reward=_mean(token["shaped_reward"] for token in good),
                failure_reward=_mean(token["shaped_reward"] for token in bad),
                success_advantage=_mean(token["advantage"] for token in good),
                failure_advantage=_mean(token["advantage"] for token in bad),
                raised=fsum(max(token["advantage"], 0.0) for token in own) / raised if raised else None,
                lowered=fsum(min(token["advantage"], 0.0) for token in own) / lowered if lowered else None,
            )
        )
    return found


def kinds_table(rows: Sequence[KindRow], title: str) -> Table:
    """The rows as a table for the terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("kind")
    for column in (
        *("tokens", "share", "entropy", "shaped reward, successes", "failures"),
        *("advantage, successes", "failures", "of positive advantage", "of negative advantage"),
    ):
        table.add_column(column, justify="right")
    for row in rows:
        means = (row.entropy, row.success_reward, row.failure_reward, row.success_advantage, row.failure_advantage)
        table.add_row(
            Text(printable(row.kind)),
            str(row.tokens),
            _percent(row.share),
            *("-" if mean is None else credit_number(mean) for mean in means),
            _percent(row.raised),
            _percent(row.lowered),
        )
    return table


def _tokens(row: Response) -> list[dict]:
    """Each token of a rollout with its values."""
    entropies = row["entropy"] or [None] * len(row["tokens"])
    values = zip(row.get("kind", []), entropies, row["shaped_reward"], row["advantage"], strict=False)
    return [
        {"kind": kind, "shaped_reward": reward, "advantage": advantage, "success": row["success"]}
        | ({} if entropy is None else {"entropy": entropy})
        for kind, entropy, reward, advantage in values
    ]


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return fsum(known) / len(known) if known else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
