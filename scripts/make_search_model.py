"""Make the bundled model of Countdown with search: a small Llama, warm-started on noisy depth-first searches.

    python scripts/make_search_model.py --output src/entroshape/assets/countdown-search --seed 0

The script uses one CPU thread, so that the same seed gives the same weights. The model learns to write valid searches,
to notice a hit and to backtrack, but hardly where to search, which is left to reinforcement learning. If the script was
stopped, the same command resumes from a file next to the output. `scripts/measure_search_model.py` measures the model.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from search_traces import noisy_search
from small_models import random_llama, word_tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from entroshape.tasks import countdown_search as search
from entroshape.tasks import countdown_search_problems as problems

PROMPT_TOKENS = 8
MAX_TOKENS = 512
IGNORED = -100
WEIGHTS = {"check": 4.0, "result": 3.0}
"""Weight in the loss by kind of token; 1 for all others."""
POOL_OF_BATCHES = 16
"""Number of batches that are drawn together and sorted by length, so that the rows of a batch need little padding."""
WARMUP_STEPS = 100
FALL = 0.25
SETTINGS = ("seed", "steps", "tokens", "limit", "learning_rate")


CARD = """\
# countdown-search

A Llama of {parameters:,} parameters (hidden 128, 4 layers, 4 heads, one of keys and values, feed-forward 256, tied
embeddings) with a vocabulary of 78 tokens. It plays [Countdown with search](../../tasks/countdown_search.py) and
nothing else, and is the model that `entroshape train --task countdown_search` starts from when told nothing else.

Made by

```sh
{command}
```

Supervised training on noisy depth-first searches of at most {limit} tokens, {steps:,} steps of {tokens:,} tokens, seed
{seed}, one CPU thread. Over the last 100 steps: {loss:.3f} nats per token, {checks:.4f} per check (`lo`, `hi`, `HIT`).
"""


class Batch(NamedTuple):
    """Rows padded on the right, all ``[rows, T]``."""

    input_ids: Tensor
    labels: Tensor
    weights: Tensor
    checks: Tensor
    """Whether the label is a ``lo``, ``hi`` or ``HIT``."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of Countdown with search."""
    special = {"pad": search.PAD, "bos": search.BOS, "eos": search.EOS}
    return word_tokenizer(search.VOCABULARY, **special, context=MAX_TOKENS)


@lru_cache(maxsize=1)
def keys_to_learn_from() -> tuple[problems.Key, ...]:
    """All problems with a solution that are not held out, also those that belong to no level."""
    return tuple(key for key in problems.solvable_problems() if key not in problems.held_out_keys())


def random_example(rng: random.Random, limit: int) -> tuple[problems.Problem, tuple[str, ...]]:
    """A problem that is not held out, and a search for its target of at most ``limit`` tokens."""
    numbers, target = rng.choice(keys_to_learn_from())
    problem = problems.Problem(tuple(rng.sample(numbers, len(numbers))), target)
    return problem, noisy_search(rng, problem.numbers, target, limit)


def collate(rows: list[tuple[problems.Problem, tuple[str, ...]]], ids: dict[str, int]) -> Batch:
    """Rows of tokens as a batch; prompts and padding carry no loss."""
    width = PROMPT_TOKENS + max(len(response) for _, response in rows)
    input_ids = torch.full((len(rows), width), ids[search.PAD])
    labels, weights = torch.full((len(rows), width), IGNORED), torch.zeros(len(rows), width)
    checks = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, (problem, response) in enumerate(rows):
        tokens = [search.BOS, *problem.prompt.split(), *response]
        kinds = search.countdown_search_kinds(problem.prompt, response)
        span = slice(PROMPT_TOKENS, len(tokens))
        input_ids[place, : len(tokens)] = torch.tensor([ids[token] for token in tokens])
        labels[place, span] = input_ids[place, span]
        weights[place, span] = torch.tensor([WEIGHTS.get(kind, 1.0) for kind in kinds])
        checks[place, span] = torch.tensor([kind == "check" for kind in kinds])
    return Batch(input_ids, labels, weights, checks)


def batches(ids: dict[str, int], tokens: int, limit: int, seed: int, first: int) -> Iterator[Batch]:
    """Endless batches of about ``tokens`` tokens each, from the ``first`` on; the same for a seed, however resumed."""
    pool = first // POOL_OF_BATCHES
    skip = first % POOL_OF_BATCHES
    while True:
        rng = random.Random(f"{seed}-{pool}")
        drawn, total = [], 0
        while total < tokens * POOL_OF_BATCHES:
            drawn.append(random_example(rng, limit))
            total += PROMPT_TOKENS + len(drawn[-1][1])
        drawn.sort(key=lambda row: len(row[1]))
        shares, share = [[] for _ in range(POOL_OF_BATCHES)], total / POOL_OF_BATCHES
        seen = 0
        for row in drawn:
            shares[min(int(seen / share), POOL_OF_BATCHES - 1)].append(row)
            seen += PROMPT_TOKENS + len(row[1])
        rng.shuffle(shares)
        for rows in shares[skip:]:
            yield collate(rows, ids)
        pool, skip = pool + 1, 0


class Progress(NamedTuple):
    """The state of a warm start, which is saved and resumed."""

    settings: dict[str, Any]
    """The options that the weights depend on."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    losses: list[tuple[float, float]]
    """Unweighted losses of each step in nats per token: over all tokens, and over the checks."""


def losses_of(model: LlamaForCausalLM, batch: Batch) -> tuple[Tensor, float, float]:
    """The weighted loss to minimise, and the unweighted losses over all tokens and over the checks."""
    # Padding is on the right, after all tokens with a loss, so the causal mask is enough.
    logits = model(input_ids=batch.input_ids).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="none"
    )
    weights, checks = batch.weights[:, 1:].flatten(), batch.checks[:, 1:].flatten()
    plain = losses.detach()
    return (losses * weights).sum() / weights.sum(), plain[weights > 0].mean().item(), plain[checks].mean().item()


def write_progress(progress: Progress, path: Path) -> None:
    """Writes the state atomically: a kill leaves the previous file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save(tuple(progress), partial)
    partial.replace(path)


def rate(step: int, steps: int, peak: float) -> float:
    """Learning rate: a linear rise, the peak, and a linear fall over the last quarter."""
    rise, fall = (step + 1) / WARMUP_STEPS, (steps - step) / (steps * FALL)
    return peak * min(rise, 1.0, max(fall, 0.0))


def train(
    model: LlamaForCausalLM, ids: dict[str, int], arguments: argparse.Namespace, saved: Path
) -> list[tuple[float, float]]:
    """Trains with AdamW on noisy searches and saves to ``saved``. Returns the unweighted losses of each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate)
    losses: list[tuple[float, float]] = []
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    if saved.exists():
        progress = Progress(*torch.load(saved, weights_only=True))
        if progress.settings != settings:
            raise SystemExit(f"{saved} is of {progress.settings}, not of {settings}: continue that one, or remove it")
        model.load_state_dict(progress.model)
        optimizer.load_state_dict(progress.optimizer)
        losses = progress.losses
    data = batches(ids, arguments.tokens, arguments.limit, arguments.seed, len(losses))
    model.train()
    with tqdm(range(len(losses), arguments.steps), desc="warm start", unit="step", initial=len(losses)) as bar:
        for step in bar:
            loss, plain, checks = losses_of(model, next(data))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = rate(step, arguments.steps, arguments.learning_rate)
            optimizer.step()
            losses.append((plain, checks))
            bar.set_postfix(loss=f"{plain:.3f}", checks=f"{checks:.4f}")
            if (step + 1) % arguments.save_every == 0:
                write_progress(Progress(settings, model.state_dict(), optimizer.state_dict(), losses), saved)
    return losses


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="directory to write the model to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--tokens", type=int, default=3072, help="tokens per step, prompts included")
    parser.add_argument("--limit", type=int, default=224, help="searches are cut at this many tokens")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--save-every", type=int, default=100, help="steps; what a kill loses at most")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)  # one thread, so that the same seed gives the same weights on any number of cores
    torch.manual_seed(arguments.seed)
    tokenizer = build_tokenizer()
    model = random_llama(tokenizer, layers=4, hidden=128, feed_forward=256, key_value_heads=1)
    saved = arguments.output.with_name(f"{arguments.output.name}.progress.pt")
    losses = train(model, tokenizer.get_vocab(), arguments, saved)
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    loss, checks = (sum(column) / len(column) for column in zip(*losses[-100:], strict=True))
    card = CARD.format(
        parameters=model.num_parameters(),
        command=shlex.join(["python", *sys.argv]),
        loss=loss,
        checks=checks,
        **vars(arguments),
    )
    (arguments.output / "README.md").write_text(card, encoding="utf-8")
    saved.unlink(missing_ok=True)
    print(f"{arguments.output}: {loss:.3f} nats per token, {checks:.4f} per check, over the last 100 steps")


if __name__ == "__main__":
    main()
