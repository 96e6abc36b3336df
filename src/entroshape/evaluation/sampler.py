"""Common parts of all samplers: the sampled completion, the plan of batches, and their seeds.

A plan depends only on the lengths of the prompts, the options and the seed. Every batch has its own seed, so any batch
can be drawn again without the others. This makes evaluations resumable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from entroshape.checks import check_integer
from entroshape.sampling.draws import derived_seed

Prompt = str | Sequence[Mapping[str, Any]]
"""Plain text, or the messages of a conversation for a tokenizer with a chat template."""

Progress = Callable[[int, int], None]
"""Called with the number of completions so far, and the total."""


@dataclass(frozen=True, kw_only=True)
class SampledCompletion:
    """One sampled completion."""

    text: str
    """The text without special tokens."""

    length: int
    """Number of tokens, including the end-of-sequence token."""

    cut: bool
    """Whether it reached the limit without ending."""

    entropy: float | None
    """Mean entropy of the sampling distribution over its tokens, in nats; ``None`` if the sampler does not know it."""


class Sampler(Protocol):
    """Samples from a language model."""

    def tokenize(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The token ids of each prompt, including special tokens that the tokenizer adds.

        Raises:
            ValueError: a prompt has no tokens.
        """

    def sample(
        self, prompts: Sequence[list[int]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[SampledCompletion]:
        """Samples one completion per prompt from the full distribution, without top-k, top-p or penalties.

        Args:
            prompts: token ids of each prompt.
            max_new_tokens: maximum number of tokens per completion.
            temperature: sampling temperature; 0 is greedy decoding.
            seed: random seed for all draws of this call, below 2 ** 64.
        """


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Completions that are sampled together."""

    prompts: list[int]
    """Prompt index of each row. A prompt appears once per sample in this batch."""

    seed: int
    """Random seed for the draws of this batch."""


def plan_batches(lengths: Sequence[int], *, samples: int, batch_size: int, seed: int) -> list[Batch]:
    """Plans the batches of an evaluation: longest prompts first and similar lengths together, to minimise padding.

    Args:
        lengths: number of tokens of each prompt.
        samples: completions per prompt.
        batch_size: rows per batch; the last batch may have fewer.
        seed: random seed for all draws.

    Raises:
        ValueError: ``samples`` or ``batch_size`` is below 1.
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


def tokenized(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The token ids of each prompt from a transformers tokenizer; conversations use its chat template.

    Raises:
        ValueError: a prompt has no tokens.
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
    """The text of each completion, as reward functions see it in training, whichever sampler is used."""
    return list(tokenizer.batch_decode(completions, skip_special_tokens=True))
