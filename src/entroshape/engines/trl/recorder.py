"""Entropies of the sampling policy, read off the logits that sampling computes anyway."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from entroshape.credit.entropy import entropy


class SamplingEntropies:
    """While active, records the entropy of every next-token distribution that ``model.generate`` samples from.

    A forward hook on the causal language model sees its final logits (after softcapping or scaling, before the
    temperature) once a token, so recording costs no forward pass. Memory: one float32 per response and token.

    Args:
        model: the unwrapped causal language model whose ``generate`` will run; for PEFT, the base model.
        temperature: of the sampling; the entropy is that of ``softmax(logits / temperature)``.
    """

    def __init__(self, model: nn.Module, temperature: float) -> None:
        self._model = model
        self._temperature = temperature
        self._columns: list[Tensor] = []
        self._handle: torch.utils.hooks.RemovableHandle | None = None

    def __enter__(self) -> SamplingEntropies:
        self._columns.clear()
        self._handle = self._model.register_forward_hook(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._handle is not None  # set by __enter__
        self._handle.remove()

    def _record(self, module: nn.Module, args: Any, output: Any) -> None:
        self._columns.append(entropy(output.logits[:, -1].detach(), temperature=self._temperature))

    def stacked(self, rows: int, length: int) -> Tensor:
        """``[rows, length]`` float32 entropies in nats; column ``t`` is of the distribution of completion token ``t``.

        Raises:
            RuntimeError: if sampling did not run the model once a token on all rows, so that columns cannot be told
            apart.
        """
        if len(self._columns) < length or any(len(column) != rows for column in self._columns):
            shapes = sorted({len(column) for column in self._columns})
            raise RuntimeError(
                f"sampling ran the model {len(self._columns)} times on batches of {shapes}, where {length} steps "
                f"on {rows} rows were expected; set entropy_source='scoring' for a pass of its own"
            )
        return torch.stack(self._columns[:length], dim=1)
