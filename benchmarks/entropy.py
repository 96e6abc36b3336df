"""Time and memory of log-probability and entropy: the plain formula, TRL's functions and ours, compared.

    python benchmarks/entropy.py [--vocab 32000 151936] [--dtype float32 bfloat16] [--tokens 2048] [--hidden 896]

Ours is compared with two peers. The first starts from hidden states (an output layer, then its log-softmax in float32),
with the layer's weight trained or frozen. The second starts from existing logits (TRL's ``selective_log_softmax`` and
``entropy_from_logits``). One process times all variants in turn, repeatedly. Ratios are taken within each turn; the
tables show their median, smallest and largest value over the turns. Peak memory is what a variant adds to its inputs,
measured in a fresh process. It includes the gradients that the variant returns. These cannot be avoided, so the ratio
is also shown without them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from side_by_side import in_child, peak_above, ratio, seconds, table, worker_request, write
from torch import Tensor

from entroshape.credit.entropy import linear_logprob_and_entropy, logprob_and_entropy

SEQUENCES = 8
"""Number of completions of equal length that the tokens are split into, to get a trainer's shape ``[B, T]``."""

MODES = ("forward", "forward+backward")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to compute both quantities."""

    label: str
    """Name in the table."""

    source: str
    """Its input: "hidden" or "logits"."""

    peer: str
    """The variant that it is compared with."""


VARIANTS = {
    "plain": Variant(label="plain", source="hidden", peer="plain"),
    "ours_hidden": Variant(label="ours, from hidden", source="hidden", peer="plain"),
    "plain_frozen": Variant(label="plain, weight frozen", source="hidden", peer="plain_frozen"),
    "ours_frozen": Variant(label="ours, from hidden, weight frozen", source="hidden", peer="plain_frozen"),
    "trl": Variant(label="TRL's pair", source="logits", peer="trl"),
    "ours_logits": Variant(label="ours, from logits", source="logits", peer="trl"),
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is measured, and on which device."""

    vocab: int
    """Vocabulary, V."""

    tokens: int
    """Tokens, N."""

    hidden: int
    """Width of the hidden state, D."""

    dtype: str
    """Data type of hidden states, weight and logits."""

    device: str
    """"cpu" or "cuda"."""

    threads: int
    """CPU threads."""


def inputs(size: Size, source: str) -> dict[str, Tensor]:
    """Leaf tensors, filled in place: a temporary here would hide part of a variant's own peak."""
    torch.manual_seed(0)
    shape = (SEQUENCES, size.tokens // SEQUENCES)
    options = {"dtype": getattr(torch, size.dtype), "device": size.device}
    tensors = {
        "tokens": torch.randint(size.vocab, shape, device=size.device),
        "upstream": torch.randn(shape, device=size.device),
    }
    if source == "logits":
        tensors["logits"] = torch.empty(*shape, size.vocab, **options).normal_(std=3.0)
    else:
        tensors["hidden"] = torch.empty(*shape, size.hidden, **options).normal_()
        tensors["weight"] = torch.empty(size.vocab, size.hidden, **options).normal_(std=3.0 * size.hidden**-0.5)
    for name in {"logits", "hidden", "weight"} & set(tensors):
        tensors[name].requires_grad_()
    return tensors


def compute(variant: str, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies, computed by ``variant``."""
    if variant == "ours_logits":
        return logprob_and_entropy(x["logits"], x["tokens"])
    if variant == "trl":
        # Slow to import, and no other variant's process needs it.
        from trl.trainer.utils import entropy_from_logits, selective_log_softmax  # noqa: PLC0415

        logprobs = selective_log_softmax(x["logits"], x["tokens"])
        with torch.no_grad():
            return logprobs, entropy_from_logits(x["logits"])
    weight = x["weight"].detach() if variant.endswith("frozen") else x["weight"]
    if variant.startswith("ours"):
        return linear_logprob_and_entropy(x["hidden"], weight, x["tokens"])
    log_softmax = F.linear(x["hidden"], weight).float().log_softmax(dim=-1)
    with torch.no_grad():
        entropies = -(log_softmax.exp() * log_softmax).sum(dim=-1)
    return log_softmax.gather(-1, x["tokens"][..., None])[..., 0], entropies


def step(variant: str, mode: str, x: dict[str, Tensor]) -> None:
    """One forward pass, or one forward and backward pass whose gradients are discarded."""
    with torch.set_grad_enabled(mode != "forward"):
        logprobs, _ = compute(variant, x)
    if mode != "forward":
        logprobs.backward(x["upstream"])
    if x["tokens"].device.type == "cuda":
        torch.cuda.synchronize()


def forget_gradients(x: dict[str, Tensor]) -> None:
    for tensor in x.values():
        tensor.grad = None


def measure_times(size: Size, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each variant and mode, turn by turn."""
    tensors = {source: inputs(size, source) for source in ("hidden", "logits")}
    taken: dict[str, dict[str, list[float]]] = {name: {mode: [] for mode in MODES} for name in VARIANTS}
    for turn in range(repeats + 1):
        for name, variant in VARIANTS.items():
            for mode in MODES:
                start = time.perf_counter()
                step(name, mode, tensors[variant.source])
                elapsed = time.perf_counter() - start
                forget_gradients(tensors[variant.source])
                if turn:  # the first turn warms up
                    taken[name][mode].append(elapsed)
        print(f"  V={size.vocab}, {size.dtype}: timed turn {turn} of {repeats}", file=sys.stderr, flush=True)
    return taken


def measure_memory(size: Size, variant: str, mode: str) -> dict[str, float]:
    """Peak memory of this process above the inputs, and the size of the gradients in it, in MB."""
    small = inputs(replace(size, vocab=512, tokens=SEQUENCES * 4), VARIANTS[variant].source)
    step(variant, mode, small)  # libraries and thread pools are loaded by now
    x = inputs(size, VARIANTS[variant].source)
    _, peak = peak_above(lambda: step(variant, mode, x), size.device)
    gradients = sum(tensor.grad.nbytes for tensor in x.values() if tensor.grad is not None)
    return {"peak": peak / 1e6, "gradients": gradients / 1e6}


def work(request: dict[str, Any]) -> None:
    """Makes one measurement, in a child process."""
    size = Size(**request.pop("size"))
    torch.set_num_threads(size.threads)
    what = measure_times if request.pop("what") == "times" else measure_memory
    print(json.dumps(what(size, **request)))


def measure(size: Size, repeats: int) -> dict:
    """Measures all times and peaks for one size."""
    taken = in_child(__file__, what="times", size=asdict(size), repeats=repeats)
    megabytes: dict[str, dict[str, dict]] = {}
    for name, variant in VARIANTS.items():
        print(f"  V={size.vocab}, {size.dtype}: memory of {variant.label}", file=sys.stderr, flush=True)
        megabytes[name] = {
            mode: in_child(__file__, what="memory", size=asdict(size), variant=name, mode=mode) for mode in MODES
        }
    return {"size": asdict(size), "seconds": taken, "megabytes": megabytes}


def lines_of(result: dict) -> list[str]:
    """The result as a table: time and peak memory for each mode, both compared with the peer."""
    size = result["size"]
    heads = ["", "forward", "vs peer", "peak", "vs peer"]
    heads += ["forward + backward", "vs peer", "peak", "vs peer", "without gradients"]
    rows = []
    for name, variant in VARIANTS.items():
        row = [variant.label]
        for mode in MODES:
            own, peer = (result["seconds"][which][mode] for which in (name, variant.peer))
            memory, peer_memory = (result["megabytes"][which][mode] for which in (name, variant.peer))
            working, peer_working = (max(x["peak"] - x["gradients"], 0.0) for x in (memory, peer_memory))
            row += [
                seconds(own),
                ratio(own, peer),
                f"{memory['peak']:.0f} MB",
                share(memory["peak"], peer_memory["peak"]),
            ]
            if mode != "forward":
                row.append(share(working, peer_working))
        rows.append(row)
    head = f"**V = {size['vocab']}**, {size['tokens']} tokens, hidden size {size['hidden']}, {size['dtype']}:"
    return [head, "", *table(heads, rows), ""]


def share(part: float, whole: float) -> str:
    """Their ratio, or a dash if ``whole`` is too small to be measured by the resident set."""
    return f"{part / whole:.2f}" if whole >= 1.0 else "-"


def main() -> None:
    request = worker_request()
    if request is not None:
        work(request)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=int, nargs="+", default=[32_000, 151_936], help="vocabulary sizes")
    parser.add_argument("--tokens", type=int, default=2048, help=f"number of tokens, a multiple of {SEQUENCES}")
    parser.add_argument("--hidden", type=int, default=896, help="width of the hidden state")
    parser.add_argument("--repeats", type=int, default=3, help="number of turns over all variants")
    types = ["float32", "bfloat16", "float16"]
    parser.add_argument(
        "--dtype", choices=types, nargs="+", default=types[:2], help="data types of hidden states and logits"
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default=device, help="device to measure on (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of CPU threads")
    options = parser.parse_args()
    if options.tokens < SEQUENCES or options.tokens % SEQUENCES:
        parser.error(f"--tokens must be a multiple of {SEQUENCES}; got {options.tokens}")
    shared = {name: getattr(options, name) for name in ("tokens", "hidden", "device", "threads")}
    sizes = [Size(vocab=vocab, dtype=dtype, **shared) for dtype in options.dtype for vocab in options.vocab]
    results = [measure(size, options.repeats) for size in sizes]
    below = (
        f"{options.repeats} turns, {options.threads} threads, {options.device}. *Without gradients*: the gradients "
        "that are returned cannot be avoided, so they are left out of both."
    )
    write("entropy", [*(line for result in results for line in lines_of(result)), below], results)


if __name__ == "__main__":
    main()
