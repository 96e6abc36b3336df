"""Make the bundled tiny model: a small Llama, warm-started on random Countdown chains.

    python scripts/make_tiny_model.py --output src/entroshape/assets/countdown-tiny --seed 0

This takes minutes on two CPU cores. The model learns to write valid steps, whatever they lead to. Reaching the target
is left to reinforcement learning. At the end, the script measures the success rate on the held-out problems and writes
it into the model's README.md.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from small_models import fit, random_llama, word_tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from entroshape.tasks import countdown

PROMPT_TOKENS = 8
TWO_STEP_SHARE = 0.25
TRUE_TARGET_SHARE = 0.5
"""If the target is always reached, the model learns to fake it: it writes the target after any last step."""
IGNORED = -100

CARD = """\
# countdown-tiny

A Llama of {parameters:,} parameters (hidden 128, 4 layers, 4 heads, feed-forward 384, tied embeddings) with a
vocabulary of 111 tokens. It can only play [Countdown](../../tasks/countdown.py), and is the default model of
`entroshape train`.

It was made by

```sh
{command}
```

Supervised training on random valid chains, {steps:,} steps of {batch} examples, seed {seed},
{threads} CPU threads; final loss {loss:.3f} nats per token.

On the {problems} held-out problems, with {samples} completions each at temperature 1:

| | |
|---|---|
| Mean@{samples} (share of completions that solve their problem) | {mean:.3f} |
| Pass@{samples} (share of problems solved at least once) | {solved:.3f} |
"""


class Score(NamedTuple):
    """Success rates on the held-out problems."""

    mean: float
    solved: float


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of Countdown."""
    special = {"pad": countdown.PAD, "bos": countdown.BOS, "eos": countdown.EOS}
    return word_tokenizer(countdown.VOCABULARY, **special, context=64)


def random_example(rng: random.Random) -> tuple[countdown.Problem, str]:
    """A prompt that is not held out, and a valid chain that reaches its target half of the time."""
    steps = 2 if rng.random() < TWO_STEP_SHARE else 3
    true_target = rng.random() < TRUE_TARGET_SHARE
    while True:
        numbers = countdown.random_numbers(rng)
        chain = countdown.random_chain(rng, numbers, steps)
        target = chain[-1].result if true_target else rng.choice(countdown.VALUES)
        problem = countdown.Problem(numbers, target)
        if countdown.is_target(numbers, target) and problem.key not in countdown.held_out_keys():
            return problem, countdown.render_chain(numbers, chain)


def batches(tokenizer: PreTrainedTokenizerFast, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless ``(input_ids, labels)``, both ``[size, T]``; prompts and padding carry no loss."""
    rng = random.Random(seed)
    while True:
        examples = [random_example(rng) for _ in range(size)]
        texts = [f"{problem.prompt} {response} {countdown.EOS}" for problem, response in examples]
        encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, IGNORED)
        labels[:, :PROMPT_TOKENS] = IGNORED
        yield encoded["input_ids"], labels


@torch.inference_mode()
def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, samples: int) -> Score:
    """Samples ``samples`` completions per held-out problem at temperature 1 and verifies them."""
    model.eval()
    problems = countdown.held_out_problems()
    hits: list[list[bool]] = []
    for start in tqdm(range(0, len(problems), 32), desc="held-out problems", unit="batch"):
        chunk = problems[start : start + 32]
        encoded = tokenizer([problem.prompt for problem in chunk], padding=True, return_tensors="pt")
        limit = countdown.MAX_RESPONSE_TOKENS + 3
        output = model.generate(**encoded, max_new_tokens=limit, num_return_sequences=samples)
        texts = tokenizer.batch_decode(output[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
        for place, problem in enumerate(chunk):
            responses = texts[place * samples : (place + 1) * samples]
            hits.append([countdown.is_solution(problem.numbers, problem.target, text) for text in responses])
    mean = sum(map(sum, hits)) / (len(hits) * samples)
    return Score(mean, sum(map(any, hits)) / len(hits))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="directory to write the model to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128, help="examples per step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak learning rate of the cosine schedule")
    parser.add_argument("--samples", type=int, default=32, help="completions per problem in the final measurement")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    tokenizer = build_tokenizer()
    model = random_llama(tokenizer, layers=4, hidden=128, feed_forward=384)
    begin = time.perf_counter()
    data = batches(tokenizer, arguments.batch, arguments.seed)
    loss = fit(model, data, arguments.steps, arguments.learning_rate)
    seconds = time.perf_counter() - begin
    torch.manual_seed(arguments.seed)
    score = measure(model, tokenizer, arguments.samples)
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    card = CARD.format(
        parameters=model.num_parameters(),
        command=shlex.join(["python", *sys.argv]),
        steps=arguments.steps,
        batch=arguments.batch,
        seed=arguments.seed,
        threads=torch.get_num_threads(),
        loss=loss,
        problems=countdown.HELD_OUT,
        samples=arguments.samples,
        **score._asdict(),
    )
    (arguments.output / "README.md").write_text(card, encoding="utf-8")
    print(
        f"{arguments.output}: {model.num_parameters():,} parameters, {seconds:.0f} s; held-out problems: "
        f"Mean@{arguments.samples} {score.mean:.3f}, Pass@{arguments.samples} {score.solved:.3f}"
    )


if __name__ == "__main__":
    main()
