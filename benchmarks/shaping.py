"""Time and memory of credit, from entropies and rewards to advantages, compared with copying a `[B, T]` matrix.

python benchmarks/shaping.py
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from side_by_side import in_child, in_turn, peak_above, ratio, seconds, table, worker_request, write
from torch import Tensor

from entroshape import DAPO, GRPOS, GTPO, ForkingTokens, Method, Rollouts
from entroshape.credit._blocks import BLOCK_CPU, slices

RESPONSES, TOKENS, GROUP = 2048, 4096, 16
METHODS: dict[str, Method] = {
    "`gtpo`, column": GTPO(),
    "`gtpo`, row": GTPO(axis="row"),
    "`gtpo`, matrix": GTPO(axis="matrix"),
    "`grpo_s`": GRPOS(),
    "`dapo`": DAPO(),
    "`dapo_forking`": ForkingTokens(),
}


def rollouts(responses: int, tokens: int, group: int, *, shuffled: bool = False) -> Rollouts:
    """Completions of half to full length, about half of them successes."""
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(tokens // 2, tokens + 1, (responses,), generator=g)
    ids = torch.arange(responses) // group
    return Rollouts(
        rewards=torch.randint(0, 2, (responses,), generator=g).float(),
        entropies=torch.rand(responses, tokens, generator=g),
        mask=torch.arange(tokens) < lengths[:, None],
        group=ids[torch.randperm(responses, generator=g)] if shuffled else ids,
    )


def loop_over_positions(batch: Rollouts) -> Tensor:
    """GTPO's shaped rewards and advantages with a loop over groups and positions, as the equations are written."""
    shaped = torch.zeros(batch.mask.shape)
    advantages = torch.zeros(batch.mask.shape)
    for group in batch.group.unique():
        rows = (batch.group == group).nonzero()[:, 0]
        right, wrong = rows[batch.rewards[rows] > 0.5], rows[batch.rewards[rows] <= 0.5]
        for t in range(batch.mask.shape[1]):
            for own, sign in ((right, 1.0), (wrong, -1.0)):
                live = own[batch.mask[own, t]]
                if len(live):
                    h = batch.entropies[live, t].clamp(min=1e-6)
                    h = h if sign > 0 else 1 / h
                    shaped[live, t] = sign * (1.0 + 0.1 * len(live) * h / h.sum())
        for own, other in ((right, wrong), (wrong, right)):
            values = shaped[own][batch.mask[own]]
            every = torch.cat([values, torch.zeros(int(batch.mask[other].sum()))])
            if len(values) and len(values) < len(every):
                advantages[own] = (shaped[own] - every.mean()) / (every.std() + 1e-6) * batch.mask[own]
    return advantages


def measure_memory(method: str) -> float:
    """Peak memory of this process above the inputs, in buffers of their size."""
    METHODS[method].assign(rollouts(64, 64, 16))  # libraries and thread pools are loaded by now
    batch = rollouts(RESPONSES, TOKENS, GROUP)
    _, peak = peak_above(lambda: METHODS[method].assign(batch))
    return peak / batch.entropies.nbytes


def beside_a_copy(repeats: int) -> None:
    """Each method, compared with one copy of the matrix into fresh memory (results go into fresh memory too)."""
    batch = rollouts(RESPONSES, TOKENS, GROUP)
    variants = {"copy": lambda: batch.entropies.clone()}
    variants |= {name: (lambda method=method: method.advantages(batch)) for name, method in METHODS.items()}
    times = in_turn(variants, repeats, "shaping")
    memory = {name: in_child(__file__, method=name) for name in METHODS}
    rows = [["one copy", seconds(times["copy"]), "1", "1"]]
    rows += [[name, seconds(times[name]), ratio(times[name], times["copy"]), f"{memory[name]:.1f}"] for name in METHODS]
    lines = table(["", "time", "in copies", "extra `[B, T]` buffers"], rows)
    lines += ["", f"B = {RESPONSES}, T = {TOKENS}, G = {GROUP}, float32, {repeats} turns."]
    write("shaping", lines, {"seconds": times, "buffers": memory})


def single_passes(repeats: int) -> None:
    """What one elementwise pass costs in several forms: the reason for how the credit is implemented."""
    batch = rollouts(RESPONSES, TOKENS, GROUP)
    values, mask = batch.entropies, batch.mask
    assert values is not None
    variants: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "a product": lambda x, m: x * 2.0,
        "`torch.where(mask, x, 0)`": lambda x, m: torch.where(m, x, 0.0),
        "`mask.float()`": lambda x, m: m.float(),
        "a sum of rows": lambda x, m: x.sum(dim=1),
        "a sum of rows in float64": lambda x, m: x.sum(dim=1, dtype=torch.float64),
    }
    blocks = slices(RESPONSES, BLOCK_CPU // TOKENS)

    def run(variant: Callable[[Tensor, Tensor], Tensor], rows: Sequence[slice]) -> None:
        for block in rows:
            variant(values[block], mask[block])

    whole = in_turn({name: (lambda v=v: run(v, [slice(None)])) for name, v in variants.items()}, repeats, "whole")
    parts = in_turn({name: (lambda v=v: run(v, blocks)) for name, v in variants.items()}, repeats, "in blocks")
    rows = [[name, seconds(whole[name]), seconds(parts[name])] for name in variants]
    write("shaping passes", table(["", "whole matrix", "in blocks"], rows), {"at once": whole, "in blocks": parts})


def growth(repeats: int) -> None:
    """GTPO over batch sizes, group sizes and orders of the ids."""
    method = GTPO()
    sizes = [(512, 1024), (1024, 2048), (2048, 4096), (4096, 8192)]
    times, rows = {}, []
    for responses, tokens in sizes:
        name, batch = f"{responses} x {tokens}", rollouts(responses, tokens, GROUP)
        variants = {"copy": lambda b=batch: b.entropies.clone(), "gtpo": lambda b=batch: method.advantages(b)}
        times[name] = found = in_turn(variants, repeats, name)
        a_token = 1e9 * statistics.median(found["gtpo"]) / (responses * tokens)
        rows.append([name, seconds(found["gtpo"]), f"{a_token:.1f} ns", ratio(found["gtpo"], found["copy"])])
    lines = table(["B x T, sorted groups of 16", "time", "time per token", "in copies of the same size"], rows)
    others = {
        "16, sorted": rollouts(RESPONSES, TOKENS, 16),
        "16, shuffled": rollouts(RESPONSES, TOKENS, 16, shuffled=True),
        "4": rollouts(RESPONSES, TOKENS, 4),
        "64": rollouts(RESPONSES, TOKENS, 64),
        "256": rollouts(RESPONSES, TOKENS, 256),
    }
    grouped = in_turn({name: (lambda b=batch: method.advantages(b)) for name, batch in others.items()}, repeats)
    base = grouped["16, sorted"]
    rows = [[name, seconds(values), ratio(values, base)] for name, values in grouped.items()]
    lines += ["", *table([f"G, B = {RESPONSES}, T = {TOKENS}", "time", "relative to 16, sorted"], rows)]
    write("shaping growth", lines, {"sizes": times, "groups": grouped})


def beside_a_loop(repeats: int) -> None:
    """GTPO compared with the loop, at a size that the loop can handle; both must give the same advantages."""
    batch = rollouts(128, 1024, GROUP)
    torch.testing.assert_close(GTPO().advantages(batch), loop_over_positions(batch), atol=1e-4, rtol=1e-4)
    times = in_turn(
        {"gtpo": lambda: GTPO().advantages(batch), "loop": lambda: loop_over_positions(batch)}, repeats, "loop"
    )
    rows = [
        ["`gtpo`", seconds(times["gtpo"]), "1"],
        ["a loop over groups and positions", seconds(times["loop"]), ratio(times["loop"], times["gtpo"])],
    ]
    write("shaping loop", table(["B = 128, T = 1024, G = 16", "time", "ratio"], rows), times)


def main() -> None:
    request = worker_request()
    if request:
        print(measure_memory(request["method"]))
        return
    torch.set_num_threads(1)
    beside_a_copy(repeats=7)
    single_passes(repeats=7)
    growth(repeats=5)
    beside_a_loop(repeats=3)


if __name__ == "__main__":
    main()
