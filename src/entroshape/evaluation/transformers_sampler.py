"""Samples completions from a model of transformers, from an explicit seed and without touching the global random state.

Tokens come from :func:`entroshape.sampling.loop.sample_tokens`, or from the model's own ``generate`` where the loop
cannot drive the model.

Shapes: ``B`` rows of a batch (a row is one sample of one prompt), ``S`` prompt positions (padded on the left), ``T``
completion positions, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from entroshape.checks import check_integer, check_number
from entroshape.credit.entropy import entropy
from entroshape.evaluation.sampler import (
    Progress,
    Prompt,
    SampledCompletion,
    decoded,
    plan_batches,
    tokenized,
)
from entroshape.sampling.loop import evaluation_mode, sample_tokens
from entroshape.sampling.support import unsupported, warn_of_generate

FULL_SUPPORT = {
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_h": 1.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "guidance_scale": 1.0,
}
"""Values that switch off settings of a model's own generation config that would change its distribution."""


class TransformersSampler:
    """Samples in this process; the global random state is neither read nor changed.

    Args:
        model: a causal language model, on any device. Its training mode is restored after each call.
        tokenizer: its tokenizer.

    Attributes:
        instead: why tokens come from ``model.generate``, as the end of a sentence; ``None`` if they come from
            :func:`entroshape.sampling.loop.sample_tokens`. Both draw from the same distribution, but not the same
            completions, and ``generate`` is slower.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.instead = unsupported(model)
        if self.instead is not None:
            warn_of_generate(self.instead)

    def tokenize(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """See :class:`entroshape.evaluation.sampler.Sampler`."""
        return tokenized(self._tokenizer, prompts)

    def sample(
        self, prompts: Sequence[list[int]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[SampledCompletion]:
        """See :class:`entroshape.evaluation.sampler.Sampler`; the entropies are exact.

        With the loop of our own, row ``i`` uses the same random numbers at every temperature.

        Raises:
            ValueError: an option is out of range, or no token ends a completion.
        """
        check_integer("max_new_tokens", max_new_tokens, minimum=1)
        check_number("temperature", temperature, minimum=0.0)
        ends = _ends(self._model, self._tokenizer)
        if self.instead is None:
            found = sample_tokens(
                self._model, prompts, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, ends=ends
            )
            means = (found.entropies.sum(dim=1) / found.lengths).tolist()
            return _completions(self._tokenizer, found.rows(), (~found.ended).tolist(), means)
        config = _generation_config(self._model, self._tokenizer, ends, max_new_tokens, temperature)
        with evaluation_mode(self._model), torch.no_grad(), _seeded(seed, self._model.device):
            return _generated(self._model, self._tokenizer, prompts, config)


def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[list[SampledCompletion]]:
    """Samples completions of each prompt from the full distribution, without top-k, top-p or penalties.

    The result depends only on the model, the prompts, the options and ``seed``. The global random state is neither read
    nor changed. Each batch has its own seed, so that it can be drawn again without the others.

    Args:
        model: a causal language model, on any device. Its training mode is restored afterwards.
        tokenizer: its tokenizer.
        prompts: plain texts or conversations.
        samples: completions per prompt.
        max_new_tokens: maximum number of tokens per completion.
        temperature: sampling temperature; 0 is greedy decoding.
        batch_size: completions sampled at a time.
        seed: random seed for all draws.
        progress: called after each batch.

    Returns:
        The completions of each prompt, in the order of the prompts.

    Raises:
        ValueError: an option is out of range, or a prompt has no tokens.
    """
    sampler = TransformersSampler(model, tokenizer)
    token_ids = sampler.tokenize(prompts)
    results: list[list[SampledCompletion]] = [[] for _ in prompts]
    done = 0
    for batch in plan_batches([len(ids) for ids in token_ids], samples=samples, batch_size=batch_size, seed=seed):
        rows = [token_ids[i] for i in batch.prompts]
        completions = sampler.sample(rows, max_new_tokens=max_new_tokens, temperature=temperature, seed=batch.seed)
        for i, completion in zip(batch.prompts, completions, strict=True):
            results[i].append(completion)
        done += len(completions)
        if progress is not None:
            progress(done, len(prompts) * samples)
    return results


def _generated(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]], config: GenerationConfig
) -> list[SampledCompletion]:
    """Samples one completion per row with ``model.generate``."""
    width = max(map(len, prompts))
    pad = config.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    recorder = _EntropyRecorder(config.temperature if config.do_sample else 0.0)
    output = model.generate(
        input_ids=ids, attention_mask=mask, generation_config=config, logits_processor=LogitsProcessorList([recorder])
    )
    completion_ids = output[:, width:]
    ended = torch.isin(completion_ids, torch.tensor(config.eos_token_id, device=ids.device))
    cut = ~ended.any(dim=1)
    lengths = torch.where(cut, completion_ids.shape[1], ended.int().argmax(dim=1) + 1)
    live = torch.arange(completion_ids.shape[1], device=ids.device) < lengths[:, None]
    means = torch.where(live, torch.stack(recorder.columns, dim=1), 0.0).sum(dim=1) / lengths
    rows = [row[:size] for row, size in zip(completion_ids.tolist(), lengths.tolist(), strict=True)]
    return _completions(tokenizer, rows, cut.tolist(), means.tolist())


def _completions(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[list[int]], cut: Sequence[bool], entropies: Sequence[float]
) -> list[SampledCompletion]:
    texts = decoded(tokenizer, rows)
    return [
        SampledCompletion(text=text, length=len(row), cut=was_cut, entropy=mean)
        for text, row, was_cut, mean in zip(texts, rows, cut, entropies, strict=True)
    ]


class _EntropyRecorder(LogitsProcessor):
    """Records the entropies ``[B]`` of every sampling step. It gets the logits before the temperature is applied.

    Those of greedy decoding are 0.
    """

    def __init__(self, temperature: float) -> None:
        self.columns: list[Tensor] = []
        self._temperature = temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        greedy = scores.new_zeros(len(scores))
        self.columns.append(entropy(scores, temperature=self._temperature) if self._temperature else greedy)
        return scores


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A completion ends, as in training, at the tokenizer's end-of-sequence token or one of the model's."""
    ends = model.generation_config.eos_token_id
    ends = [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [ends]
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    if not ends:
        raise ValueError("tokenizer must have an end-of-sequence token, or the model's generation config one; got none")
    return ends


def _generation_config(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ends: list[int], max_new_tokens: int, temperature: float
) -> GenerationConfig:
    """Plain sampling, or greedy decoding at temperature 0."""
    theirs = model.generation_config
    # Only settings of the model are overridden, because a cut-off that is set is computed even if it has no effect.
    overrides = {name: value for name, value in FULL_SUPPORT.items() if getattr(theirs, name, None) is not None}
    sampling = {"do_sample": True, "temperature": float(temperature), "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        **overrides,
        **(sampling if temperature else {"do_sample": False}),
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        use_cache=True,
        disable_compile=True,
    )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds the generators of the CPU and the device inside the context, and restores their states afterwards."""
    module = None if device.type in ("cpu", "mps") else torch.get_device_module(device)
    devices = [] if module is None else list(range(module.device_count()))
    of_mps = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        with torch.random.fork_rng(devices, device_type="cuda" if module is None else device.type):
            torch.manual_seed(seed)
            yield
    finally:
        if of_mps is not None:
            torch.mps.set_rng_state(of_mps)
