"""What our part of a step costs on a cluster: the tables of docs/scale.md, from formulas and a count of operations.

    python scripts/scale.py            # prints them, and writes them into docs/scale.md

The formulas are functions below; docs/scale.md says where they come from. Operations are counted, not guessed: every
element that the credit's tensor operations write, for a batch of the same shape, is added up while they run.
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
    """A step: its batch, its model, its machines."""

    name: str
    responses: int
    tokens: int
    """A response's limit; all figures are for batches that are full."""
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
    """What one rank receives when the rows of a sampled batch are gathered, for each round of sampling."""
    per_token = INT64 + INT64 + FLOAT32 + (FLOAT32 if dynamic_sampling or logprobs else 0)
    per_row = setting.tokens * per_token + INT64 + BOOL
    if dynamic_sampling:
        per_row += setting.prompt * (INT64 + INT64)
    return setting.responses * per_row * (setting.ranks - 1) // setting.ranks


def verl_bytes(setting: Setting, method: str) -> int:
    """What the trainer reads from, and writes to, the TransferQueue beyond what verl's own trainer does."""
    tokens = setting.responses * setting.tokens
    read = FLOAT32 + FLOAT32  # scores; entropies, which the metrics of every method need
    masks = 3 * INT64 if method == "dapo_forking" else 0
    return tokens * (read + masks)


def gradient_bytes(setting: Setting) -> float:
    """What one rank receives for one micro-batch under FSDP in bf16: the weights twice, the gradients once."""
    return 3 * 2 * setting.parameters


def training_flops(setting: Setting) -> float:
    """Forward and backward pass over all tokens: the usual 6 flops a parameter and token."""
    return 6 * setting.parameters * setting.responses * (setting.prompt + setting.tokens)


def entropy_flops(setting: Setting) -> float:
    """Entropies from logits that are there anyway: a maximum, an exponential, two sums and a product a logit."""
    return 5.0 * setting.vocabulary * setting.responses * setting.tokens


class _Written(TorchDispatchMode):
    """Adds up the elements that tensor operations write; views write none."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.elements += sum(each.numel() for each in tree_leaves(out) if isinstance(each, Tensor))
        return out


def written_per_token(method: str, group: int, rows: int = 64, length: int = 256) -> float:
    """Elements that the credit of a batch writes, per token."""
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
    """One row a method."""
    tokens = setting.responses * setting.tokens
    lines = [
        "| | elements written a token | written a step | TRL: received by a rank a round | with dynamic sampling | "
        "verl: TransferQueue |",
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
            f"{setting.responses} responses of {setting.tokens} tokens, prompts of {setting.prompt}, {setting.ranks} "
            f"ranks; one `[B, T]` tensor of float32 has {_size(FLOAT32 * tokens)}. Training takes {flops:.2g} flops a "
            f"step: {flops / operations:.0e} for every element GTPO writes, {flops / entropy_flops(setting):.0e} "
            "a flop of entropies. Under FSDP a rank receives "
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
