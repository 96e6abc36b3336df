"""GTPO in one file: a whole training loop with transformers and torch, and no trainer.

    python examples/gtpo_loop.py --steps 30

A tiny bundled model learns Countdown: reach a target from four numbers, writing every step. Each step below

1. samples a group of completions for each prompt,
2. scores them, and measures the entropy of the policy that sampled them at every token,
3. turns rewards and entropies into one advantage per token (GTPO, Eq. 3, 5 and 6 of arXiv 2508.04349), and
4. updates the policy with the clipped surrogate (Eq. 7).

Only step 3 is particular to GTPO. Another method is another line: replace ``GTPO()`` with ``GRPOS()``, ``DAPO()`` or
``GRPO()``; the rest of the loop stays as it is.

Shapes: ``B`` completions (all groups together), ``P`` prompt tokens, ``T`` completion tokens, ``V`` vocabulary.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from entroshape import GTPO, Method, Rollouts, logprob_and_entropy
from entroshape.models import load_model
from entroshape.tasks import Task, load_task

PROMPTS, GROUP = 8, 16  # per step: 8 prompts, 16 completions for each
UPDATES = 2  # optimizer updates per step, each on half of the completions
LEARNING_RATE = 1e-4


@torch.no_grad()
def sample(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One completion for each of ``B`` prompts, drawn from the policy's full distribution at temperature 1.

    Returns:
        Token ids ``[B, P + T]``, their attention mask ``[B, P + T]``, and the completions' mask ``[B, T]``, which is
        true up to and including the end-of-sequence token.
    """
    read = tokenizer(list(prompts), return_tensors="pt", padding=True).to(model.device)
    # top_k=0: every token of the vocabulary can be drawn. GTPO weighs by the entropy of just that distribution.
    ids = model.generate(**read, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=max_new_tokens)
    written = ids[:, read["input_ids"].shape[1] :]
    ends = written == tokenizer.eos_token_id
    mask = ends.cumsum(dim=1) - ends.long() == 0
    return ids, torch.cat([read["attention_mask"], mask.long()], dim=1), mask


def evaluate_tokens(model: PreTrainedModel, ids: Tensor, attention_mask: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy, in nats, of each of the last ``length`` tokens: both ``[B, T]``."""
    # The logits at a position are of the token after it.
    logits = model(input_ids=ids, attention_mask=attention_mask).logits[:, -length - 1 : -1]
    return logprob_and_entropy(logits, ids[:, -length:])


def score(task: Task, rows: Sequence[dict[str, Any]], texts: Sequence[str]) -> Tensor:
    """``[B]`` rewards: 1 for a solution, 0 for anything else."""
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    return torch.tensor(task.reward([row["prompt"] for row in rows], texts, **columns))


def train_step(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    task: Task,
    method: Method,
    problems: Sequence[dict[str, Any]],
) -> dict[str, float]:
    """One step: sample, score, assign credit, update."""
    # 1. A group of completions for each prompt. Rows with the same id in `group` are compared with one another.
    rows = [problem for problem in problems for _ in range(GROUP)]
    group = torch.arange(len(problems)).repeat_interleave(GROUP)
    model.eval()
    ids, attention_mask, mask = sample(model, tokenizer, [row["prompt"] for row in rows], task.max_completion_length)
    length = mask.shape[1]

    # 2. Rewards of the completions; entropies and log-probabilities of the policy that sampled them.
    rewards = score(task, rows, tokenizer.batch_decode(ids[:, -length:], skip_special_tokens=True))
    with torch.no_grad():
        old_logprobs, entropies = evaluate_tokens(model, ids, attention_mask, length)

    # 3. Credit, from all completions of the step at once: before they are shuffled or split.
    rollouts = Rollouts(rewards=rewards, entropies=entropies, mask=mask, group=group, logprobs=old_logprobs)
    advantages = method.advantages(rollouts)

    # 4. Updates, each on a share of the completions.
    model.train()
    losses = []
    for part in torch.randperm(len(rows)).chunk(UPDATES):
        logprobs, _ = evaluate_tokens(model, ids[part], attention_mask[part], length)
        loss, _ = method.surrogate(logprobs, old_logprobs[part], advantages[part], mask[part])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return {
        "loss": sum(losses) / UPDATES,
        "success": method.is_success(rewards).float().mean().item(),
        "entropy": entropies[mask].mean().item(),
        "tokens": mask.sum(dim=1).float().mean().item(),
    }


def train(steps: int, seed: int = 0) -> list[dict[str, float]]:
    """The loop: prints and returns the figures of every step."""
    torch.manual_seed(seed)
    task = load_task("countdown", train_size=steps * PROMPTS, test_size=1, seed=seed)
    model, tokenizer = load_model("countdown-tiny")
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    history = []
    for step in range(steps):
        problems = [task.train[i] for i in range(step * PROMPTS, (step + 1) * PROMPTS)]
        figures = train_step(model, tokenizer, optimizer, task, GTPO(), problems)
        print(f"step {step + 1}/{steps}  " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        history.append(figures)
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trains a tiny bundled model on Countdown with GTPO.")
    parser.add_argument("--steps", type=int, default=30, help="training steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of problems and sampling")
    arguments = parser.parse_args()
    train(arguments.steps, arguments.seed)
