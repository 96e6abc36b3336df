"""Computes the tables of docs/scale.md: what our part of a step costs on a cluster.

    python scripts/scale.py            # prints the tables, and writes them into docs/scale.md

The formulas are the functions below; docs/scale.md explains them. Operations are counted, not estimated: while the
credit of a batch is computed, every element that its tensor operations write is added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from entroshape.methods import build_method
from entroshape.rollouts import Rollouts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
METHODS = ("dapo", "dapo_forking", "gtpo", "grpo_s")
INT64, FLOAT32, BOOL = 8, 4, 1


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One step: its batch, its model and its cluster."""

    name: str
    responses: int
    tokens: int
    """Length limit of a completion; all figures assume full batches."""
    prompt: int
    group: int
    ranks: int
    parameters: float
    hidden: int
    vocabulary: int


SETTINGS = (
    Setting(
        name="7B",
        responses=2048,
        tokens=4096,
        prompt=2048,
        group=16,
        ranks=64,
        parameters=7.6e9,
        hidden=3584,
        vocabulary=152_064,
    ),
    Setting(
        name="32B",
        responses=2048,
        tokens=4096,
        prompt=2048,
        group=16,
        ranks=64,
        parameters=32.8e9,
        hidden=5120,
        vocabulary=152_064,
    ),
)


def trl_bytes(setting: Setting, *, dynamic_sampling: bool, logprobs: bool = False) -> int:
    """Bytes that one rank receives per round of sampling, when the rows of the batch are gathered."""
    per_token = INT64 + INT64 + FLOAT32 + (FLOAT32 if dynamic_sampling or logprobs else 0)
    per_row = setting.tokens * per_token + INT64 + BOOL
    if dynamic_sampling:
        per_row += setting.prompt * (INT64 + INT64)
    return setting.responses * per_row * (setting.ranks - 1) // setting.ranks


def verl_bytes(setting: Setting, method: str) -> int:
    """Bytes that the trainer reads from and writes to the TransferQueue, beyond those of verl's own trainer."""
    tokens = setting.responses * setting.tokens
    read = FLOAT32 + FLOAT32  # scores; entropies, which the metrics of every method need
    masks = 3 * INT64 if method == "dapo_forking" else 0
    return tokens * (read + masks)


def gradient_bytes(setting: Setting) -> float:
    """Bytes that one rank receives per micro-batch under FSDP in bf16: the weights twice, the gradients once."""
    return 3 * 2 * setting.parameters


def training_flops(setting: Setting) -> float:
    """Forward and backward pass over all tokens: the usual 6 flops per parameter and token."""
    return 6 * setting.parameters * setting.responses * (setting.prompt + setting.tokens)


def entropy_flops(setting: Setting) -> float:
    """Entropies from existing logits: a maximum, an exponential, two sums and a product per logit."""
    return 5.0 * setting.vocabulary * setting.responses * setting.tokens


class _Written(TorchDispatchMode):
    """Counts the elements that tensor operations write; views write none."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.elements += sum(each.numel() for each in tree_leaves(out) if isinstance(each, Tensor))
        return out


def written_per_token(method: str, group: int, rows: int = 64, length: int = 256) -> float:
    """Elements written per token while the credit of a batch is computed."""
    g = torch.Generator().manual_seed(0)
    rollouts = Rollouts(
        rewards=torch.randint(0, 2, (rows,), generator=g).float(),
        entropies=torch.rand(rows, length, generator=g),
        mask=torch.ones(rows, length, dtype=torch.bool),
        group=torch.arange(rows) // group,
    )
    with _Written() as written:
        build_method(method).assign(rollouts)
    return written.elements / (rows * length)


def table(setting: Setting) -> list[str]:
    """One row per method."""
    tokens = setting.responses * setting.tokens
    lines = [
        "| | elements written per token | written per step | TRL: received by each rank per round | "
        "with dynamic sampling | verl: TransferQueue |",
        "|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        written = written_per_token(method, setting.group)
        sizes = [
            FLOAT32 * written * tokens,
            trl_bytes(setting, dynamic_sampling=False),
            trl_bytes(setting, dynamic_sampling=True),
            verl_bytes(setting, method),
        ]
        lines.append(f"| `{method}` | {written:.1f} | {' | '.join(map(_size, sizes))} |")
    return lines


def text(setting: Setting) -> str:
    flops, tokens = training_flops(setting), setting.responses * setting.tokens
    operations, received = written_per_token("gtpo", setting.group) * tokens, trl_bytes(setting, dynamic_sampling=True)
    return "\n".join(
        [
            *table(setting),
            "",
            f"{setting.responses} completions of {setting.tokens} tokens, prompts of {setting.prompt} tokens, "
            f"{setting.ranks} ranks; one `[B, T]` tensor of float32 takes {_size(FLOAT32 * tokens)}. Training takes "
            f"{flops:.2g} flops per step: {flops / operations:.0e} for every element that GTPO writes, "
            f"{flops / entropy_flops(setting):.0e} for every flop of entropies. Under FSDP each rank receives "
            f"{_size(gradient_bytes(setting))} for one micro-batch, {gradient_bytes(setting) / received:.0f} times "
            "what TRL gathers for credit with dynamic sampling.",
        ]
    )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def main() -> None:
    page = PAGE.read_text()
    for setting in SETTINGS:
        begin, end = f"<!-- {setting.name}: begin -->", f"<!-- {setting.name}: end -->"
        page = f"{page[: page.index(begin)]}{begin}\n{text(setting)}\n{page[page.index(end) :]}"
        print(text(setting), end="\n\n")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
