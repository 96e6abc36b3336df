"""Peak memory of one loss and its gradients in TRL's trainer and in ours, on a model with Qwen2.5-0.5B's shape.

    python benchmarks/memory.py [--layers 24]

The model has random weights and a vocabulary of 151,936; the batch has 8 completions of 512 tokens. Both trainers get
the same batch, and their losses and gradients are compared. Weights and gradients are allocated before the measurement
starts.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from side_by_side import in_child, peak_above, table, worker_request, write
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer

RESPONSES, TOKENS, PROMPT, VOCABULARY = 8, 512, 32, 151_936
VARIANTS = {"trl": "`trl.GRPOTrainer`, `loss_type=dapo`", "dapo": "ours, `dapo`"}


def policy(layers: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=layers,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return Qwen2ForCausalLM(shape)


def trainer(variant: str, layers: int) -> GRPOTrainer:
    words = Tokenizer(models.WordLevel({"<bos>": 0, "<eos>": 1, "<pad>": 2, "a": 3}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", padding_side="left"
    )
    settings: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "use_cpu": True,
        "bf16": False,
        "num_generations": RESPONSES,
        "per_device_train_batch_size": RESPONSES,
        "max_completion_length": TOKENS,
        "beta": 0.0,
        "report_to": "none",
    }
    common = {
        "model": policy(layers),
        "processing_class": tokenizer,
        "reward_funcs": lambda completions, **columns: [0.0] * len(completions),
        "train_dataset": Dataset.from_dict({"prompt": ["a"] * RESPONSES}),
    }
    if variant == "trl":
        return GRPOTrainer(args=GRPOConfig(loss_type="dapo", epsilon_high=0.28, **settings), **common)
    return ShapedGRPOTrainer(args=ShapedGRPOConfig(method=variant, dynamic_sampling=False, **settings), **common)


def batch(tokens: int) -> dict[str, Any]:
    """A sampled batch as the loss sees it, with one advantage per completion."""
    g = torch.Generator().manual_seed(1)
    advantages = torch.randn(RESPONSES, generator=g)
    return {
        "prompt_ids": torch.randint(3, VOCABULARY, (RESPONSES, PROMPT), generator=g),
        "prompt_mask": torch.ones(RESPONSES, PROMPT, dtype=torch.long),
        "completion_ids": torch.randint(3, VOCABULARY, (RESPONSES, tokens), generator=g),
        "completion_mask": torch.ones(RESPONSES, tokens, dtype=torch.long),
        "advantages": advantages,
        "shaped_by_entroshape": torch.ones(RESPONSES, dtype=torch.bool),
        "num_items_in_batch": torch.tensor(RESPONSES * tokens),
    }


def measure(variant: str, layers: int) -> dict[str, float]:
    made = trainer(variant, layers)
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    # As `train` does: both trainers have it on by default.
    made.model.gradient_checkpointing_enable(made.args.gradient_checkpointing_kwargs)
    for parameter in made.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made._compute_loss(made.model, batch(4)).backward()  # libraries and thread pools are loaded by now
    made.model.zero_grad(set_to_none=False)
    inputs = batch(TOKENS)

    def update() -> torch.Tensor:
        loss = made._compute_loss(made.model, inputs)
        loss.backward()
        return loss

    start = time.perf_counter()
    loss, peak = peak_above(update)
    took = time.perf_counter() - start
    squares = sum(float(parameter.grad.double().square().sum()) for parameter in made.model.parameters())
    held = sum(2 * parameter.nbytes for parameter in made.model.parameters())
    return {
        "extra": peak,
        "held": held,
        "seconds": took,
        "loss": loss.item(),
        "gradient norm": math.sqrt(squares),
    }


def main() -> None:
    request = worker_request()
    if request:
        print(json.dumps(measure(**request)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--layers", type=int, default=24, help="number of layers: Qwen2.5-0.5B has 24, fewer are faster"
    )
    options = parser.parse_args()
    found = {name: in_child(__file__, variant=name, layers=options.layers) for name in VARIANTS}
    peer = found["trl"]
    rows = [
        [
            label,
            f"{found[name]['extra'] / 1e9:.2f} GB",
            f"{found[name]['extra'] / peer['extra']:.2f}",
            f"{(found[name]['extra'] + found[name]['held']) / (peer['extra'] + peer['held']):.2f}",
            f"{found[name]['seconds'] / peer['seconds']:.2f}",
            f"{found[name]['loss']:.6f}",
            f"{found[name]['gradient norm']:.5f}",
        ]
        for name, label in VARIANTS.items()
    ]
    heads = [
        "",
        "peak above weights and gradients",
        "vs TRL",
        "including them, vs TRL",
        "time vs TRL",
        "loss",
        "gradient norm",
    ]
    lines = table(heads, rows)
    lines += [
        "",
        f"{options.layers} layers, {RESPONSES} x {TOKENS} tokens, prompts of {PROMPT} tokens, V = {VOCABULARY}, "
        "float32, gradient checkpointing, one run each.",
    ]
    write("memory", lines, found)


if __name__ == "__main__":
    main()
