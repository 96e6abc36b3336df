"""Entropies of the sampling policy, read off the logits that sampling computes anyway."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from entroshape.credit.entropy import entropy


class SamplingEntropies:
    """While active, records the entropy of every next-token distribution that ``model.generate`` samples from.

    A forward hook on the causal language model sees its final logits (after softcapping or scaling, before the
    temperature) once a token, so recording costs no forward pass. Memory: twelve bytes per response and token.

    Args:
        model: the unwrapped causal language model whose ``generate`` will run; for PEFT, the base model.
        temperature: of the sampling; the entropy is that of ``softmax(logits / temperature)``.
    """

    def __init__(self, model: nn.Module, temperature: float) -> None:
        self._model = model
        self._temperature = temperature
        self._columns: list[Tensor] = []
        self._fed: list[Tensor] = []
        self._handle: torch.utils.hooks.RemovableHandle | None = None

    def __enter__(self) -> SamplingEntropies:
        self._columns.clear()
        self._fed.clear()
        self._handle = self._model.register_forward_hook(self._record, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._handle is not None  # set by __enter__
        self._handle.remove()

    def _record(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        self._columns.append(entropy(output.logits[:, -1].detach(), temperature=self._temperature))
        self._fed.append((kwargs["input_ids"] if "input_ids" in kwargs else args[0])[:, -1])

    def stacked(self, prompt_ids: Tensor, completion_ids: Tensor, mask: Tensor) -> Tensor:
        """The recorded entropies beside the tokens that were sampled.

        Args:
            prompt_ids: ``[B, P]``, padded on the left.
            completion_ids: ``[B, T]``, padded on the right.
            mask: ``[B, T]`` 0/1, the live tokens of the completions.

        Returns:
            ``[B, T]`` float32, in nats: column ``t`` is of the distribution of completion token ``t``; 0 in columns
            without a live token.

        Raises:
            RuntimeError: if sampling did not run the model once a token on all rows (prefill in chunks, beams,
            speculation), so that columns and tokens cannot be told to belong together.
        """
        live = mask.bool()
        used = int(live.sum(dim=1).max())
        columns, fed = self._columns[:used], self._fed[:used]
        # Sampling feeds the model the token before the one that it samples: that tells which column is whose.
        before = torch.cat([prompt_ids[:, -1:], completion_ids], dim=1)[:, :used]
        fits = len(columns) == used and all(len(column) == len(live) for column in columns)
        if not fits or (used and not torch.equal(torch.stack(fed, dim=1)[live[:, :used]], before[live[:, :used]])):
            shapes = sorted({len(column) for column in self._columns})
            raise RuntimeError(
                f"sampling ran the model {len(self._columns)} times on batches of {shapes}, where one run a token "
                f"on {len(live)} rows of {used} tokens was expected; set entropy_source='scoring' for a pass of its own"
            )
        stacked = torch.stack(columns, dim=1) if used else torch.zeros(len(live), 0, device=live.device)
        return pad(stacked, (0, live.shape[1] - used))
