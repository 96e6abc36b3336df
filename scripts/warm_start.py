"""Make a small model for one reasoning-gym task that sometimes succeeds: a starting point for reinforcement learning.

    python scripts/warm_start.py --task "reasoning_gym:mini_sudoku?min_empty=6&max_empty=8" --output models/mini-sudoku

The model is a Llama with a few hundred thousand parameters and its own tokenizer: one token for the common beginning of
all prompts, one for their common end, and one per word, digit or sign in between. It is trained on the task's own
answers for so few steps that most of its completions are failures. This takes minutes on one CPU core. At the end, the
script measures the success rate on held-out problems and writes it into a README.md.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from small_models import fit, random_llama, wrapped
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from entroshape.evaluation import evaluate
from entroshape.models import formatted_prompt
from entroshape.tasks import Task, load_task

WORD = r"</?answer>| ?(?:[A-Z]#|#[A-Z])| ?[A-Za-z]+| ?\d| ?[^\w\s]| ?_|\s"
"""Matches one token of the part that differs between prompts; a space belongs to the token after it."""
SPECIAL = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
IGNORED = -100

CARD = """\
# A warm start for {task}

A Llama of {parameters:,} parameters (hidden {hidden}, {layers} layers) with {vocabulary} tokens, trained on the task's
own answers for {steps} steps of {batch} examples. Made by

```sh
{command}
```

On {problems} held-out problems, {samples} samples each at temperature 1: Mean@{samples} {mean:.3f}, Pass@{samples}
{solved:.3f}.
"""


def examples(task: Task) -> list[tuple[str, str]]:
    """``(prompt, completion)`` of every training problem; the completion is the data set's own answer."""
    return [
        (_prompt(row["prompt"], task), f"<answer>{json.loads(row['entry'])['answer']}</answer>") for row in task.train
    ]


def _prompt(text: str, task: Task) -> str:
    return f"{text}\n\n{task.instruction}"


def build_tokenizer(texts: list[tuple[str, str]], context: int, *, letters: bool) -> PreTrainedTokenizerFast:
    """One token each for the common beginning and end of all prompts, one per word in between; decoding is lossless."""
    pattern = WORD.replace("[A-Za-z]+", "[A-Za-z]") if letters else WORD
    prompts = [prompt for prompt, _ in texts]
    head = _common_start(prompts)
    tail = _common_start([prompt[len(head) :][::-1] for prompt in prompts])[::-1]
    between = [prompt[len(head) : len(prompt) - len(tail)] for prompt in prompts]
    words = sorted(
        {word for text in (*between, *(answer for _, answer in texts)) for word in re.findall(pattern, text)}
    )
    tokens = [*SPECIAL.values(), *words]
    core = Tokenizer(models.WordLevel({token: place for place, token in enumerate(tokens)}))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_tokens([AddedToken(frame, normalized=False) for frame in (head, tail) if frame])
    core.add_special_tokens(list(SPECIAL.values()))
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return wrapped(core, context=context, **SPECIAL)


def _common_start(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def batches(
    tokenizer: PreTrainedTokenizerFast, texts: list[tuple[str, str]], size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless ``(input_ids, labels)``, both ``[size, T]``; prompts and padding carry no loss."""
    rng = random.Random(seed)
    encoded = [
        (tokenizer(prompt)["input_ids"], tokenizer(answer + "<eos>", add_special_tokens=False)["input_ids"])
        for prompt, answer in tqdm(texts, desc="tokenizing", unit="problem", leave=False)
    ]
    while True:
        chosen = rng.choices(encoded, k=size)
        width = max(len(prompt) + len(answer) for prompt, answer in chosen)
        ids = torch.full((size, width), tokenizer.pad_token_id)
        labels = torch.full((size, width), IGNORED)
        for row, (prompt, answer) in enumerate(chosen):
            ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        yield ids, labels


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="task to learn: reasoning_gym:NAME?option=value&...")
    parser.add_argument("--output", type=Path, required=True, help="directory to write the model to")
    parser.add_argument("--letters", action="store_true", help="use letters as tokens instead of words")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--problems", type=int, default=20000, help="number of problems to learn from")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=128, help="examples per step")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="peak of the cosine schedule")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--samples", type=int, default=32, help="completions per problem in the final measurement")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    torch.manual_seed(options.seed)
    # No reinforcement learning run uses this seed, so such a run draws other problems.
    task = load_task(options.task, train_size=options.problems, test_size=256, seed=10**6 + options.seed)
    texts = examples(task)
    tokenizer = build_tokenizer(texts, context=256, letters=options.letters)
    model = random_llama(tokenizer, layers=options.layers, hidden=options.hidden, feed_forward=3 * options.hidden)
    begin = time.perf_counter()
    fit(model, batches(tokenizer, texts, options.batch, options.seed), options.steps, options.learning_rate)
    result = evaluate(
        model,
        tokenizer,
        task,
        samples=options.samples,
        seed=options.seed,
        max_new_tokens=max(len(tokenizer(answer)["input_ids"]) for _, answer in texts) + 2,
        prompt_formatter=lambda prompt: formatted_prompt(prompt, task, tokenizer),
    )
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    card = CARD.format(
        **vars(options) | {"task": task.name, "problems": len(task.test), "command": shlex.join(["python", *sys.argv])},
        parameters=model.num_parameters(),
        vocabulary=len(tokenizer),
        mean=result.metrics[f"mean@{options.samples}"],
        solved=result.metrics[f"pass@{options.samples}"],
    )
    (options.output / "README.md").write_text(card, encoding="utf-8")
    print(f"{time.perf_counter() - begin:.0f} s\n{card}")
    print({k: round(v, 3) for k, v in result.metrics.items()})
    print(repr(result.rows[0]["prompt"][-120:]), [row["completion"] for row in result.rows[:4]])


if __name__ == "__main__":
    main()
