"""The sampling loop: one pass over each distinct prompt, one token at a time for the rows that have not ended.

Shapes: ``B`` rows, ``S`` prompt positions (padded on the left), ``T`` completion positions (padded on the right), ``V``
vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from entroshape.checks import check_integer, check_number
from entroshape.credit.entropy import logprob_and_entropy
from entroshape.sampling.attention import one_query_attention
from entroshape.sampling.cache import empty_cache
from entroshape.sampling.draws import RowNumbers, draw
from entroshape.sampling.support import bare_model

COMPACT_AT = 0.25
"""Share of the batch that has to be finished before its rows leave; see docs/performance.md."""


HELD = 2**20
"""Logits that are held at most before their log-probabilities and entropies are computed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledTokens:
    """Sampled completions of ``B`` rows. Beyond a row's length, all matrices are 0."""

    ids: Tensor
    """``[B, T]`` int64, with the token that ended the row."""

    lengths: Tensor
    """``[B]`` int64, at least 1."""

    ended: Tensor
    """``[B]`` bool: whether the row ended with an end-of-sequence token, not at the limit."""

    logprobs: Tensor
    """``[B, T]`` log-probabilities of the tokens at the sampling temperature, in nats."""

    entropies: Tensor
    """``[B, T]`` entropies of the distributions that they were drawn from, in nats."""

    def rows(self) -> list[list[int]]:
        """The tokens of each row, without padding."""
        return [row[:length] for row, length in zip(self.ids.tolist(), self.lengths.tolist(), strict=True)]


def sample_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    ends: Collection[int],
    first_row: int = 0,
    compact_at: float = COMPACT_AT,
) -> SampledTokens:
    """Samples one completion per row from the full distribution.

    The random number of each token depends on ``seed``, its row and its position alone. Apart from rounding in the
    model, the completion of a row therefore depends neither on the other rows nor on ``compact_at``. Dropout is off,
    and the global random state is neither read nor changed.

    Args:
        model: a causal language model that :func:`entroshape.sampling.support.unsupported` has nothing against.
        prompts: token ids of each row, at least one per row. Rows with equal prompts share one pass over it.
        max_new_tokens: maximum number of tokens per row.
        temperature: of sampling; 0 takes the most probable token: its log-probability and the entropy are then 0.
        seed: below 2 ** 64.
        ends: tokens that end a row.
        first_row: number of the first row, where a batch is sampled in parts.
        compact_at: share of the batch that has to be finished before finished rows leave it; above 1, they stay.

    Raises:
        ValueError: an option is out of range, or a prompt has no tokens.
        RuntimeError: the model's logits are not finite.
    """
    check_integer("max_new_tokens", max_new_tokens, minimum=1)
    check_number("temperature", temperature, minimum=0.0)
    if not prompts or not all(prompts):
        raise ValueError("prompts must hold at least one token each; got none")
    model = bare_model(model)
    with evaluation_mode(model), one_query_attention(model), torch.inference_mode():
        batch = _Batch(model, prompts, max_new_tokens)
        numbers = RowNumbers(seed, range(first_row, first_row + len(prompts)), batch.device)
        record = _Record(len(prompts), max_new_tokens, temperature, torch.tensor(sorted(ends), device=batch.device))
        logits = batch.read()
        while True:
            tokens = draw(logits, numbers.next(), temperature)
            finished = record.add(logits, tokens)
            if finished == len(tokens) or record.length == max_new_tokens:
                break
            if finished >= compact_at * len(tokens):
                others = record.compact()
                numbers.keep(others)
                batch.keep(others)
                tokens = tokens[others]
            logits = batch.advance(tokens)
        found = record.result()
    # Tensors of inference mode cannot take part in a training step; copies can.
    found = SampledTokens(**{name: value.clone() for name, value in vars(found).items()})
    _check_finite(found)
    return found


class _Batch:
    """The rows that are being sampled: the model's cache, and the mask and positions where prompts are padded."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
        self._model, self.device = model, model.device
        distinct = {tuple(prompt): None for prompt in prompts}
        place = {prompt: i for i, prompt in enumerate(distinct)}
        self._row_of = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=self.device)
        lengths = [len(prompt) for prompt in distinct]
        self._width = max(lengths)
        self._ids = torch.tensor([[0] * (self._width - len(ids)) + list(ids) for ids in distinct], device=self.device)
        self._cache = empty_cache(model.config, self._width + max_new_tokens)
        self._lengths = torch.tensor(lengths, device=self.device)
        self._padded = min(lengths) < self._width
        self._mask: Tensor | None = None
        if self._padded:
            places = torch.arange(self._width + max_new_tokens, device=self.device)
            self._mask = (places >= (self._width - self._lengths)[:, None]).long()
        # Of the class, because training replaces that of the instance.
        parameters = inspect.signature(type(model).forward).parameters
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}

    def read(self) -> Tensor:
        """Reads the prompts; returns the logits ``[B, V]`` of the first token of each row."""
        positions = None if self._mask is None else (self._mask[:, : self._width].cumsum(1) - 1).clamp_(min=0)
        logits = self._run(self._ids, positions)
        if len(self._row_of) > len(self._ids):
            self.keep(self._row_of)
        return logits[self._row_of]  # a copy, which does not hold the logits of all positions

    def advance(self, tokens: Tensor) -> Tensor:
        """Adds a token ``[B]`` to each row; returns the logits ``[B, V]`` of the next."""
        self._width += 1
        positions = None
        if self._padded:
            positions = self._lengths[:, None]
            self._lengths = self._lengths + 1
        return self._run(tokens[:, None], positions)

    def _run(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        options: dict[str, Any] = dict(self._last)
        if self._mask is not None:
            options |= {"attention_mask": self._mask[:, : self._width], "position_ids": positions}
        output = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, return_dict=True, **options)
        return output.logits[:, -1]

    def keep(self, index: Tensor) -> None:
        """Keeps (or repeats) the rows at ``index``."""
        self._cache.batch_select_indices(index)
        if self._mask is not None:
            self._mask, self._lengths = self._mask[index], self._lengths[index]


class _Record:
    """What was sampled, in columns ``[b]`` of the ``b`` rows that are in the batch.

    Logits are held for several positions, because their log-probabilities and entropies cost less in one call.
    """

    def __init__(self, rows: int, max_new_tokens: int, temperature: float, ends: Tensor) -> None:
        self._temperature, self._ends = temperature, ends
        self._live = torch.arange(rows, device=ends.device)
        self._done = torch.zeros(rows, dtype=torch.bool, device=ends.device)
        self._lengths = torch.full((rows,), max_new_tokens, device=ends.device)
        self._stretches = [(self._live, 0)]  # rows of the batch, and the first position at which it had these
        self._tokens: list[Tensor] = []
        self._held: list[Tensor] = []
        self._scored: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        """Positions so far."""
        return len(self._tokens)

    def add(self, logits: Tensor, tokens: Tensor) -> int:
        """Adds the tokens ``[b]`` of the rows in the batch; returns how many of these rows have ended."""
        self._tokens.append(tokens)
        self._held.append(logits)
        if sum(held.numel() for held in self._held) >= HELD:
            self._score()
        ended = torch.isin(tokens, self._ends) & ~self._done
        self._done |= ended
        self._lengths[self._live[ended]] = self.length
        return int(self._done.sum())

    def compact(self) -> Tensor:
        """Lets the rows that have ended leave; returns the indices of the others within the batch."""
        others = (~self._done).nonzero()[:, 0]
        self._live, self._done = self._live[others], self._done[others]
        self._stretches.append((self._live, self.length))
        return others

    def _score(self) -> None:
        """Log-probabilities and entropies from the logits that are held."""
        logits, tokens = torch.cat(self._held), torch.cat(self._tokens[len(self._tokens) - len(self._held) :])
        if self._temperature > 0:
            self._scored.append(logprob_and_entropy(logits, tokens, temperature=self._temperature))
        else:
            certain = 0 * logits.amax(dim=-1).float()  # NaN where the logits are not finite
            self._scored.append((certain, certain))
        self._held.clear()

    def result(self) -> SampledTokens:
        """All positions of all rows."""
        if self._held:
            self._score()
        shape = len(self._lengths), self.length
        flat = (torch.cat(self._tokens), *(torch.cat(own) for own in zip(*self._scored, strict=True)))
        ids, logprobs, entropies = found = [own.new_zeros(shape) for own in flat]
        stops = [start for _, start in self._stretches[1:]] + [self.length]
        offset = 0
        for (live, start), stop in zip(self._stretches, stops, strict=True):
            count = (stop - start) * len(live)
            for whole, own in zip(found, flat, strict=True):
                whole[live, start:stop] = own[offset : offset + count].view(-1, len(live)).T
            offset += count
        # A row that has ended stays in the batch until it is compacted.
        beyond = torch.arange(self.length, device=ids.device) >= self._lengths[:, None]
        return SampledTokens(
            ids=ids.masked_fill_(beyond, 0),
            lengths=self._lengths,
            ended=torch.isin(ids, self._ends).logical_and_(~beyond).any(dim=1),
            logprobs=logprobs.masked_fill_(beyond, 0.0),
            entropies=entropies.masked_fill_(beyond, 0.0),
        )


def _check_finite(found: SampledTokens) -> None:
    """Raise ``RuntimeError`` if a token's distribution was not one."""
    broken = (~(found.logprobs.isfinite() & found.entropies.isfinite())).nonzero()
    if len(broken):
        row, position = broken[0].tolist()
        raise RuntimeError(
            f"the model's logits must be finite to sample from; row {row} has no distribution at position {position}"
        )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switches the model to evaluation mode inside the context, and restores the mode of every module afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
