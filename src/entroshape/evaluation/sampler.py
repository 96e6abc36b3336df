"""What every sampler has in common: the shape of a completion, the plan of batches, and their seeds.

A plan depends on the prompts' lengths, the options and the seed alone, and every batch has a seed of its own: any batch
can be drawn again without the others, which is what makes an evaluation resumable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from entroshape.checks import check_integer

Prompt = str | Sequence[Mapping[str, Any]]
"""Plain text, or the messages of a conversation for a tokenizer with a chat template."""

Progress = Callable[[int, int], None]
"""Called with how many responses are done, and how many there are in all."""


@dataclass(frozen=True, kw_only=True)
class SampledCompletion:
    """One sampled answer."""

    text: str
    """Without special tokens."""

    length: int
    """In tokens, with the end-of-sequence token."""

    cut: bool
    """Whether it reached the limit without ending."""

    entropy: float | None
    """Mean over its tokens of the sampling distribution's entropy, in nats; ``None``: the sampler does not know it."""


class Sampler(Protocol):
    """Something that samples from a language model."""

    def tokenize(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The token ids of each prompt, with whatever the tokenizer puts before or behind.

        Raises:
            ValueError: a prompt without tokens.
        """

    def sample(
        self, prompts: Sequence[list[int]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[SampledCompletion]:
        """One completion of each prompt, from the whole distribution: no top-k, top-p or penalties.

        Args:
            prompts: token ids.
            max_new_tokens: limit of a completion.
            temperature: of sampling.
            seed: of all draws of this call, below 2 ** 64.
        """


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is sampled at a time."""

    prompts: list[int]
    """Which prompt each row answers; a prompt stands there once for each of its samples in this batch."""

    seed: int
    """Of this batch's draws."""


def plan_batches(lengths: Sequence[int], *, samples: int, batch_size: int, seed: int) -> list[Batch]:
    """All batches of an evaluation: the longest prompts first, like beside like, so that little is padded.

    Args:
        lengths: tokens of each prompt.
        samples: completions a prompt.
        batch_size: rows of a batch; the last may have fewer.
        seed: of all draws.

    Raises:
        ValueError: a number below 1.
    """
    check_integer("samples", samples, minimum=1)
    check_integer("batch_size", batch_size, minimum=1)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    rows = [i for i in order for _ in range(samples)]
    starts = range(0, len(rows), batch_size)
    return [
        Batch(prompts=rows[start : start + batch_size], seed=derived_seed(seed, number))
        for number, start in enumerate(starts)
    ]


def derived_seed(seed: int, number: int) -> int:
    """Seeds of neighbouring batches and runs that have nothing in common, below 2 ** 64."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def tokenized(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Each prompt's token ids by a tokenizer of transformers, conversations through its chat template.

    Raises:
        ValueError: a prompt without tokens.
    """
    token_ids = []
    for i, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            ids = tokenizer(prompt)["input_ids"]
        else:
            ids = tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=True)["input_ids"]
        if not ids:
            raise ValueError(f"prompts[{i}] must hold at least one token; got {prompt!r}")
        token_ids.append(list(ids))
    return token_ids


def decoded(tokenizer: Any, completions: Sequence[list[int]]) -> list[str]:
    """The text of each completion, as training's reward functions see it, whatever sampled it."""
    return list(tokenizer.batch_decode(completions, skip_special_tokens=True))
