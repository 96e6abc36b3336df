"""Time of a training step of the bundled model: TRL's own trainer and ours, in turn, on the same batches.

    python benchmarks/step.py

All variants start from the same weights and seeds. The learning rate is 1e-9, so that all of them make the same number
of optimizer updates, and each samples the same tokens in every turn (TRL other ones than ours, of nearly the same
number). Dynamic sampling is off, because TRL does not have it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import disable_progress_bars
from side_by_side import ratio, seconds, table, write
from transformers import PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer

from entroshape.assets import bundled_model_of
from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer
from entroshape.engines.trl.speed import by_length
from entroshape.models import load_model
from entroshape.tasks import load_task

PROMPTS, GROUP, UPDATES = 8, 16, 2
SAMPLER = {"old_logprobs": "sampler"}
TRL_DEFAULT = "`trl.GRPOTrainer`, its defaults"
TRL_PLAIN = "`trl.GRPOTrainer`, no gradient checkpointing"
OURS = "ours, `dapo`"
VARIANTS: dict[str, tuple[str | None, dict[str, Any]]] = {
    TRL_DEFAULT: (None, {"gradient_checkpointing": True}),
    TRL_PLAIN: (None, {}),
    "ours, `dapo`, `old_logprobs=recompute`": ("dapo", {}),
    OURS: ("dapo", SAMPLER),
    "ours, `grpo`": ("grpo", SAMPLER),
    "ours, `gtpo`": ("gtpo", SAMPLER),
    "ours, `grpo_s`": ("grpo_s", SAMPLER),
    "ours, `gtpo`, bfloat16": ("gtpo", {**SAMPLER, "bf16": True}),
}


class StopWatch(TrainerCallback):
    """Measures from the first step to the end of the last, without the setup and teardown of ``train``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Starts the clock before the first step."""
        self._start = self._clock()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Stops the clock after the last step."""
        self.seconds = self._clock() - self._start


class Run:
    """Trains a few steps, always from the same weights."""

    def __init__(
        self,
        method: str | None,
        options: dict[str, Any],
        steps: int,
        task: Any,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._made, self._clock = (method, options, steps, task), clock

    def seconds(self) -> tuple[float, int]:
        """Seconds per step, and the number of tokens sampled."""
        method, options, steps, task = self._made
        model, tokenizer = load_model(bundled_model_of(task.name))
        settings = {
            "output_dir": tempfile.mkdtemp(),
            "use_cpu": not torch.cuda.is_available(),
            "bf16": False,
            "gradient_checkpointing": False,
            "num_generations": GROUP,
            "per_device_train_batch_size": PROMPTS * GROUP // UPDATES,
            "steps_per_generation": UPDATES,
            "max_completion_length": task.max_completion_length,
            "max_steps": UPDATES * steps,
            "learning_rate": 1e-9,
            "beta": 0.0,
            "save_strategy": "no",
            "report_to": "none",
            "logging_steps": 10_000,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **options,
        }
        common = {
            "model": model,
            "processing_class": tokenizer,
            "reward_funcs": task.reward,
            "train_dataset": task.train,
        }
        trainer: GRPOTrainer
        if method is None:
            trainer = GRPOTrainer(args=GRPOConfig(loss_type="dapo", epsilon_high=0.28, **settings), **common)
        else:
            args = ShapedGRPOConfig(method=method, dynamic_sampling=False, **settings)
            trainer = ShapedGRPOTrainer(args=args, **common)
        trainer.remove_callback(PrinterCallback)
        watch = StopWatch(self._clock)
        trainer.add_callback(watch)
        trainer.train()
        return watch.seconds / steps, int(trainer.state.num_input_tokens_seen)


def padding() -> None:
    """Positions that a model computes for one update, with TRL's micro-batches and with ours."""
    g = torch.Generator().manual_seed(0)
    rows, found = [], {}
    for name, lengths in {
        "uniform, 1 to 4096": torch.randint(1, 4097, (256,), generator=g),
        "log-normal, median 1000, cut at 4096": (1000 * torch.randn(256, generator=g).exp()).clamp(1, 4096).long(),
    }.items():
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        for size in (4, 16):
            batches = [{"completion_mask": mask[i : i + size]} for i in range(0, len(mask), size)]
            ours = sum(batch["completion_mask"].numel() for batch in by_length(batches, len(batches)))
            found[f"{name}, {size}"] = ours / mask.numel()
            used = int(mask.sum())
            cells = [f"{used / mask.numel():.2f}", f"{ours / mask.numel():.2f}"]
            rows.append([name, str(size), *cells])
    heads = [
        "256 completions, one update",
        "rows per micro-batch",
        "tokens vs TRL's positions",
        "our positions vs TRL's",
    ]
    write("padding", table(heads, rows), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6, help="steps per turn")
    parser.add_argument("--turns", type=int, default=5, help="number of turns over all variants")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    disable_progress_bars()
    disable_progress_bar()
    task = load_task("countdown", train_size=400, test_size=8, seed=0)
    runs = {name: Run(method, own, options.steps, task) for name, (method, own) in VARIANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    tokens: dict[str, set[int]] = {name: set() for name in VARIANTS}
    for turn in range(options.turns + 1):
        for name, run in runs.items():
            took, seen = run.seconds()
            if turn:
                times[name].append(took)
                tokens[name].add(seen)
        print(f"  step turn {turn} of {options.turns}", file=sys.stderr, flush=True)
    rows = [
        [name, seconds(times[name]), *(ratio(times[name], times[peer]) for peer in (TRL_DEFAULT, TRL_PLAIN, OURS))]
        for name in VARIANTS
    ]
    lines = table(["", "time per step", "vs TRL", "vs TRL without checkpointing", "vs our `dapo`"], rows)
    lines += [
        "",
        f"{PROMPTS} prompts x {GROUP} completions, {UPDATES} updates per step, {options.steps} steps per turn, "
        f"{options.turns} turns, {options.threads} thread. Tokens seen: {sorted(set.union(*tokens.values()))}.",
    ]
    write("step", lines, times)
    padding()


if __name__ == "__main__":
    main()
