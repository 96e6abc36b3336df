"""Tables of docs/results.md that combine settings, or compare arms with an arm other than the baseline."""

from __future__ import annotations

from collections.abc import Mapping

from entroshape.experiments import Comparison, paired_difference
from entroshape.metrics.wording import wording

ACROSS = ("countdown", "confirmation", "shortest-path", "rewriting")
"""The settings with 100 steps and the same budget."""

COLUMNS = ("mean@32", "pass@16", "pass@32")

PAIRS = [
    ("confirmation", "gtpo", "gtpo_random"),
    ("countdown", "gtpo", "gtpo_random"),
    ("shortest-path", "gtpo", "gtpo_random"),
    ("rewriting", "gtpo", "gtpo_random"),
    ("countdown", "grpo_s", "grpo"),
    ("shortest-path", "grpo_s", "grpo"),
    ("rewriting", "grpo_s", "grpo"),
    ("countdown", "gtpo:gate=false:dynamic_sampling=false", "gtpo:dynamic_sampling=false"),
    ("shortest-path", "gtpo:gate=false:dynamic_sampling=false", "gtpo:dynamic_sampling=false"),
    ("rewriting", "gtpo:gate=false:dynamic_sampling=false", "gtpo:dynamic_sampling=false"),
    ("search", "dapo:steps=50", "dapo"),
    ("search", "dapo:updates_per_step=4", "dapo"),
    ("search", "dapo:num_generations=32:prompts_per_step=4", "dapo"),
    ("long-confirmation", "dapo:steps=60", "dapo"),
    ("long-confirmation", "gtpo_surprisal", "dapo:steps=60"),
]
"""(setting, arm, compared with): pairs that the tables of the settings do not show."""


def across_table(comparisons: Mapping[str, Comparison]) -> str:
    """Each arm compared with DAPO over the pairs (task, seed) of all settings with 100 steps."""
    lines = [f"| | pairs | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    arms = [arm.name for arm in comparisons[ACROSS[0]].arms]
    for arm in arms:
        cells = []
        pairs: dict[int, float] = {}
        for metric in COLUMNS:
            pairs, base = {}, {}
            for place, name in enumerate(ACROSS):
                comparison = comparisons[name]
                if comparison.baseline == arm or arm not in [each.name for each in comparison.arms]:
                    continue
                for seed, value in comparison.values(arm, metric).items():
                    pairs[1000 * place + seed] = value
                    base[1000 * place + seed] = comparison.values(comparison.baseline, metric)[seed]
            cells.append(_text(pairs, base))
        if pairs:
            lines.append(f"| `{arm}` | {len(pairs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def pairs_table(comparisons: Mapping[str, Comparison]) -> str:
    """Arms compared with an arm that differs from them in only one thing."""
    lines = [f"| | | against | seeds | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 4) + "|"]
    for name, arm, against in PAIRS:
        comparison = comparisons[name]
        values = {metric: (comparison.values(arm, metric), comparison.values(against, metric)) for metric in COLUMNS}
        seeds = len(set(values[COLUMNS[0]][0]) & set(values[COLUMNS[0]][1]))
        cells = " | ".join(_text(*values[metric]) for metric in COLUMNS)
        lines.append(f"| {name} | `{arm}` | `{against}` | {seeds} | {cells} |")
    return "\n".join(lines)


def _text(values: Mapping[int, float], baseline: Mapping[int, float]) -> str:
    difference = paired_difference(values, baseline)
    if difference is None or difference.low is None or difference.high is None:
        return ""
    words = wording(COLUMNS[0])
    interval = words.interval(difference.low, difference.high, signed=True)
    return f"{words.number(difference.mean, signed=True)} ({interval})"
