"""How the cost of scoring and shaping grows with tokens and group size, and how many bytes ranks exchange.

python benchmarks/growth.py
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.multiprocessing as mp
from accelerate import Accelerator
from matplotlib import pyplot as plt
from shaping import rollouts
from side_by_side import in_child, in_turn, peak_above, table, worker_request, write

from entroshape import GTPO, linear_logprob_and_entropy
from entroshape.engines.trl.batch import gather_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import scale

LENGTHS = (512, 2048, 8192, 32_768)
GROUPS = (4, 16, 64)
HIDDEN, VOCABULARY = 128, 4096
IMAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "growth.png"


def inputs(responses: int, tokens: int, group: int) -> tuple[Any, ...]:
    torch.manual_seed(0)
    hidden = torch.randn(responses, tokens, HIDDEN)
    return (
        rollouts(responses, tokens, group),
        hidden,
        torch.randn(VOCABULARY, HIDDEN),
        torch.zeros(hidden.shape[:2], dtype=torch.long),
    )


def work(batch: Any, hidden: torch.Tensor, weight: torch.Tensor, tokens: torch.Tensor) -> None:
    """Scoring from hidden states, then GTPO."""
    with torch.no_grad():
        linear_logprob_and_entropy(hidden, weight, tokens)
    GTPO().assign(batch)


def measure(responses: int, tokens: int, group: int) -> dict[str, float]:
    work(*inputs(16, 64, 16))
    made = inputs(responses, tokens, group)
    _, peak = peak_above(lambda: work(*made))
    times = in_turn({"work": lambda: work(*made)}, 3)["work"]
    return {"seconds": statistics.median(times), "peak": peak}


def grows() -> None:
    """Makes the table and the plot over T and G."""
    torch.set_num_threads(1)
    by_length = {t: in_child(__file__, kind="growth", responses=16, tokens=t, group=16) for t in LENGTHS}
    by_group = {g: in_child(__file__, kind="growth", responses=g * 8, tokens=1024, group=g) for g in GROUPS}
    rows = [[f"T = {t}, G = 16, B = 16", *_cells(found, 16 * t)] for t, found in by_length.items()] + [
        [f"T = 1024, G = {g}, B = {8 * g}", *_cells(found, 8 * g * 1024)] for g, found in by_group.items()
    ]
    lines = table(["", "time", "peak", "time per token", "peak per token"], rows)
    lines += [
        "",
        f"Scoring from hidden states (D = {HIDDEN}, V = {VOCABULARY}) and GTPO; peak memory above the inputs.",
    ]
    write("growth", lines, {"tokens": by_length, "groups": by_group})
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    for axis, name, unit, scaled in ((axes[0], "seconds", "s", 1.0), (axes[1], "peak", "MB", 1e6)):
        counts = [16 * t for t in LENGTHS]
        values = [by_length[t][name] / scaled for t in LENGTHS]
        axis.loglog(counts, values, "o-", label="measured, T from 512 to 32,768")
        axis.loglog(counts, [values[-1] * n / counts[-1] for n in counts], "k:", label="linear in tokens")
        axis.loglog(
            [8 * g * 1024 for g in GROUPS], [by_group[g][name] / scaled for g in GROUPS], "s", label="G from 4 to 64"
        )
        axis.set(xlabel="tokens", ylabel=f"{name} ({unit})")
    axes[0].legend(fontsize=8)
    figure.savefig(IMAGE, dpi=130)


def _cells(found: dict[str, float], tokens: int) -> list[str]:
    return [
        f"{found['seconds']:.3f} s",
        f"{found['peak'] / 1e6:.1f} MB",
        f"{1e6 * found['seconds'] / tokens:.2f} us",
        f"{found['peak'] / tokens:.0f} B",
    ]


def rank(index: int, ranks: int, port: int, output: str, dynamic: bool, setting: scale.Setting) -> None:
    """One rank: gathers the rows of a batch as the TRL engine does."""
    os.environ |= {
        "RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    accelerator = Accelerator(cpu=True)
    own, length = setting.responses // ranks, setting.tokens
    rows = {
        "completion_ids": torch.zeros(own, length, dtype=torch.long),
        "completion_mask": torch.ones(own, length, dtype=torch.long),
        "entropies": torch.zeros(own, length),
        "sampled_tokens": torch.full((own,), length),
        "cut": torch.zeros(own, dtype=torch.bool),
    }
    if dynamic:
        rows["old_per_token_logps"] = torch.zeros(own, length)
        rows["prompt_ids"] = torch.zeros(own, setting.prompt, dtype=torch.long)
        rows["prompt_mask"] = torch.ones(own, setting.prompt, dtype=torch.long)
    gather_rows(accelerator, rows, 0)
    accelerator.wait_for_everyone()
    before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    accelerator.wait_for_everyone()
    gather_rows(accelerator, rows, 0)
    accelerator.wait_for_everyone()
    if index == 0:
        Path(output).write_text(json.dumps(psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before))
    accelerator.wait_for_everyone()


def exchanged() -> None:
    """Compares the bytes over the loopback device with the formula of docs/scale.md."""
    rows, figures = [], {}
    for ranks in (2, 4):
        for dynamic in (False, True):
            setting = scale.Setting(
                name="",
                responses=256,
                tokens=4096,
                prompt=2048,
                group=16,
                ranks=ranks,
                parameters=0,
                hidden=0,
                vocabulary=0,
            )
            with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
                free.close()
                output = f"{folder}/bytes"
                mp.spawn(rank, (ranks, port, output, dynamic, setting), nprocs=ranks)
                found = json.loads(Path(output).read_text()) / ranks
            formula = scale.trl_bytes(setting, dynamic_sampling=dynamic)
            figures[f"{ranks} {dynamic}"] = {"measured": found, "formula": formula}
            what = "with dynamic sampling" if dynamic else "without dynamic sampling"
            rows.append(
                [f"{ranks} ranks, {what}", f"{found / 1e6:.1f} MB", f"{formula / 1e6:.1f} MB", f"{found / formula:.3f}"]
            )
    lines = table(["gloo", "received by each rank", "formula", "ratio"], rows)
    counted = "counted on the loopback device, including headers and other traffic"
    lines += ["", f"256 completions of 4096 tokens, prompts of 2048 tokens; {counted}."]
    write("ranks", lines, figures)


def main() -> None:
    request = worker_request()
    if request:
        request.pop("kind")
        torch.set_num_threads(1)
        print(json.dumps(measure(**request)))
        return
    grows()
    exchanged()


if __name__ == "__main__":
    main()
