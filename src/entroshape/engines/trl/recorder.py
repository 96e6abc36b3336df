"""Entropies and log-probabilities of the sampling policy, read off the logits that sampling computes anyway."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from entroshape.credit.entropy import logprob_and_entropy


class SamplerRecorder:
    """While active, records of each token that ``model.generate`` samples its log-probability and entropy.

    A forward hook on the causal language model sees its final logits (after softcapping or scaling, before the
    temperature) once a token, so recording costs no forward pass. The token that was drawn from them is known when it
    is fed back, so one token's logits ``[B, V]`` are held until then; else twenty bytes per response and token.

    Args:
        model: the unwrapped causal language model whose ``generate`` will run; for PEFT, the base model.
        temperature: of the sampling; everything is of ``softmax(logits / temperature)``.
    """

    def __init__(self, model: nn.Module, temperature: float) -> None:
        self._model = model
        self._temperature = temperature
        self._logits: Tensor | None = None
        self._logprobs: list[Tensor] = []
        self._entropies: list[Tensor] = []
        self._fed: list[Tensor] = []
        self._handle: torch.utils.hooks.RemovableHandle | None = None

    def __enter__(self) -> SamplerRecorder:
        self._logits = None
        for kept in (self._logprobs, self._entropies, self._fed):
            kept.clear()
        self._handle = self._model.register_forward_hook(self._record, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._handle is not None  # set by __enter__
        self._handle.remove()

    def _record(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        tokens = (kwargs["input_ids"] if "input_ids" in kwargs else args[0])[:, -1]
        self._finish(tokens)
        self._fed.append(tokens)
        # A view would hold a whole prompt's logits, and a compiled model writes the next ones into the same buffer.
        self._logits = output.logits[:, -1].detach().clone()

    def _finish(self, tokens: Tensor) -> None:
        """Takes down what is held of the last logits, now that the tokens drawn from them are known."""
        if self._logits is None:
            return
        if len(tokens) != len(self._logits):  # not a run per token; :meth:`stacked` will say so
            tokens = self._logits.new_zeros(len(self._logits), dtype=torch.long)
        logprobs, entropies = logprob_and_entropy(self._logits, tokens, temperature=self._temperature)
        self._logprobs.append(logprobs)
        self._entropies.append(entropies)
        self._logits = None

    def stacked(self, prompt_ids: Tensor, completion_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What was recorded, beside the tokens that were sampled.

        Args:
            prompt_ids: ``[B, P]``, padded on the left.
            completion_ids: ``[B, T]``, padded on the right.
            mask: ``[B, T]`` 0/1, the live tokens of the completions.

        Returns:
            Log-probabilities of the completions' tokens and entropies of the distributions that they were drawn from,
            both ``[B, T]`` float32, in nats; 0 in columns without a live token.

        Raises:
            RuntimeError: if sampling did not run the model once a token on all rows (prefill in chunks, beams,
            speculation), so that columns and tokens cannot be told to belong together.
        """
        live = mask.bool()
        used = int(live.sum(dim=1).max())
        if self._logits is not None and len(self._fed) <= completion_ids.shape[1]:
            self._finish(completion_ids[:, len(self._fed) - 1])
        if not self._belongs(prompt_ids, completion_ids, live, used):
            shapes = sorted({len(column) for column in self._fed})
            raise RuntimeError(
                f"sampling ran the model {len(self._fed)} times on batches of {shapes}, where one run a token "
                f"on {len(live)} rows of {used} tokens was expected; set entropy_source='scoring' for a pass of its own"
            )
        empty = torch.zeros(len(live), 0, device=live.device)
        columns = (torch.stack(own[:used], dim=1) if used else empty for own in (self._logprobs, self._entropies))
        logprobs, entropies = (pad(own, (0, live.shape[1] - used)) for own in columns)
        return logprobs, entropies

    def _belongs(self, prompt_ids: Tensor, completion_ids: Tensor, live: Tensor, used: int) -> bool:
        """Whether column ``t`` is of token ``t``: sampling feeds the model the token before the one that it samples."""
        runs = min(len(self._fed), used + 1)
        if len(self._entropies) < used or any(len(fed) != len(live) for fed in self._fed[:runs]):
            return False
        if not used:
            return True
        fed = torch.stack(self._fed[:runs], dim=1)
        before = torch.cat([prompt_ids[:, -1:], completion_ids], dim=1)[:, :runs]
        known = torch.cat([live[:, :1], live], dim=1)[:, :runs]
        return torch.equal(fed[known], before[known])
