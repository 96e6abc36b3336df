"""Time and memory of log-probability and entropy: the plain formula, TRL's pair and ours, side by side.

    python benchmarks/entropy.py [--vocab 32000 151936] [--tokens 2048] [--hidden 896] [--json PATH]

Two peers, each beside ours: from hidden states (an output layer, then its log-softmax in float32) with the layer's
weight trained or frozen, and from logits that exist already (TRL's ``selective_log_softmax`` and
``entropy_from_logits``). Times come from one process that runs all variants in turn, again and again; a ratio is taken
within each turn, and its median, smallest and largest value over the turns are shown. Peak memory is what a variant
adds to its inputs, measured in a fresh process of its own; the gradients that it hands back are a part of it and cannot
be saved, so the ratio is also shown without them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from entroshape.credit.entropy import linear_logprob_and_entropy, logprob_and_entropy

SEQUENCES = 8
"""The tokens come as so many responses of equal length: the shape ``[B, T]`` in which a trainer has them."""

MODES = ("forward", "forward+backward")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to compute both quantities."""

    label: str
    """What the table calls it."""

    source: str
    """What it starts from: "hidden" or "logits"."""

    peer: str
    """The variant that it is measured against."""


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
    """What is measured; what it is measured on."""

    vocab: int
    """Vocabulary, V."""

    tokens: int
    """Tokens, N."""

    hidden: int
    """Width of the hidden state, D."""

    dtype: str
    """Of hidden states, weight and logits."""

    device: str
    """"cpu" or "cuda"."""

    threads: int
    """CPU threads."""


def inputs(size: Size, source: str) -> dict[str, Tensor]:
    """Leaf tensors, filled in place: a temporary here would hide a part of a variant's own peak."""
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
    """Log-probabilities and entropies, as ``variant`` has them."""
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
    """One forward, or forward and backward, with the gradients thrown away."""
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
    seconds: dict[str, dict[str, list[float]]] = {name: {mode: [] for mode in MODES} for name in VARIANTS}
    for turn in range(repeats + 1):
        for name, variant in VARIANTS.items():
            for mode in MODES:
                start = time.perf_counter()
                step(name, mode, tensors[variant.source])
                elapsed = time.perf_counter() - start
                forget_gradients(tensors[variant.source])
                if turn:  # the first turn warms up
                    seconds[name][mode].append(elapsed)
        print(f"  V={size.vocab}: timed turn {turn} of {repeats}", file=sys.stderr, flush=True)
    return seconds


def measure_memory(size: Size, variant: str, mode: str) -> dict[str, float]:
    """Peak above the inputs, and size of the gradients in it, in MB, in this process."""
    small = inputs(replace(size, vocab=512, tokens=SEQUENCES * 4), VARIANTS[variant].source)
    step(variant, mode, small)  # libraries and thread pools are loaded by now
    x = inputs(size, VARIANTS[variant].source)
    before = peak_bytes(size.device)
    step(variant, mode, x)
    peak = peak_bytes(size.device) - before
    gradients = sum(tensor.grad.nbytes for tensor in x.values() if tensor.grad is not None)
    return {"peak": peak / 1e6, "gradients": gradients / 1e6}


def peak_bytes(device: str) -> int:
    """The most memory that this process has held so far: on the device, or resident."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def worker(request: str) -> None:
    """What a child process does: one measurement, its result as JSON on standard output."""
    arguments = json.loads(request)
    size = Size(**arguments.pop("size"))
    torch.set_num_threads(size.threads)
    what = measure_times if arguments.pop("what") == "times" else measure_memory
    print(json.dumps(what(size, **arguments)))


def in_child(what: str, size: Size, **arguments: object) -> dict:
    """Run a measurement in a fresh process.

    On Linux a child's ``ru_maxrss`` starts from its parent's, so this process must stay small.
    """
    request = json.dumps({"what": what, "size": asdict(size), **arguments})
    command = [sys.executable, __file__, "--worker", request]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def measure(size: Size, repeats: int) -> dict:
    """All times and peaks of one size."""
    seconds = in_child("times", size, repeats=repeats)
    megabytes: dict[str, dict[str, dict]] = {}
    for name, variant in VARIANTS.items():
        print(f"  V={size.vocab}: memory of {variant.label}", file=sys.stderr, flush=True)
        megabytes[name] = {mode: in_child("memory", size, variant=name, mode=mode) for mode in MODES}
    return {"size": asdict(size), "seconds": seconds, "megabytes": megabytes}


def table(result: dict) -> list[str]:
    """The result as lines: for each mode, seconds and MB, and both as ratios to the peer's."""
    lines = []
    for mode in MODES:
        lines += ["", f"{mode:<33}{'seconds':>8}{'ratio (spread)':>22}{'peak MB':>9}{'ratio':>7}{'less gradients':>16}"]
        for name, variant in VARIANTS.items():
            own, peer = (result["seconds"][which][mode] for which in (name, variant.peer))
            memory, peer_memory = (result["megabytes"][which][mode] for which in (name, variant.peer))
            ratios = [a / b for a, b in zip(own, peer, strict=True)]
            time_ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            peak_ratio = share(memory["peak"], peer_memory["peak"])
            working, peer_working = (x["peak"] - x["gradients"] for x in (memory, peer_memory))
            cells = (time_ratio, peak_ratio, share(working, peer_working))
            first, second, third = ("1", "1", "1") if name == variant.peer else cells
            line = f"  {variant.label:<31}{statistics.median(own):>8.3f}{first:>22}{memory['peak']:>9.0f}"
            lines.append(f"{line}{second:>7}{third:>16}")
    return lines


def share(part: float, whole: float) -> str:
    """Their ratio, or a dash where the whole is below what a resident set can tell."""
    return f"{max(part, 0.0) / whole:.3f}" if whole >= 1.0 else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocab", type=int, nargs="+", default=[32_000, 151_936], help="vocabulary sizes")
    parser.add_argument("--tokens", type=int, default=2048, help=f"tokens, a multiple of {SEQUENCES}")
    parser.add_argument("--hidden", type=int, default=896, help="width of the hidden state")
    parser.add_argument("--repeats", type=int, default=5, help="turns over all variants")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=device, help="here: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    if options.tokens < SEQUENCES or options.tokens % SEQUENCES:
        parser.error(f"--tokens must be a multiple of {SEQUENCES}; got {options.tokens}")
    results = []
    for vocab in options.vocab:
        size = Size(
            vocab=vocab,
            tokens=options.tokens,
            hidden=options.hidden,
            dtype=options.dtype,
            device=options.device,
            threads=options.threads,
        )
        results.append(measure(size, options.repeats))
        print(f"\nV={vocab}, N={size.tokens}, D={size.hidden}, {size.dtype}, {size.device}, {size.threads} threads")
        print("\n".join(table(results[-1])), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
