"""Entropies and log-probabilities of the sampling policy: where they come from, and how sampling is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from entroshape.credit.entropy import logprob_and_entropy


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Sources of the sampling policy's entropies and log-probabilities."""

    recorded: bool
    """Whether they are recorded from the logits during sampling."""

    recorded_old_logprobs: bool
    """Whether the recorded log-probabilities replace TRL's scoring pass."""


def chosen_sources(entropy_source: str, old_logprobs: str, *, watchable: bool, scores_old_logprobs: bool) -> Sources:
    """Chooses the cheapest sources that the settings allow.

    Args:
        entropy_source: ``"auto"``, ``"sampler"`` or ``"scoring"``.
        old_logprobs: ``"recompute"`` or ``"sampler"``.
        watchable: whether sampling is one call of transformers' ``generate``, so that a hook sees its logits.
        scores_old_logprobs: whether TRL computes old log-probabilities in a pass, which yields entropies for free.

    Raises:
        ValueError: a setting asks for values from the sampler that it cannot provide or that nothing would use.
    """
    for setting, value, default in (
        ("entropy_source", entropy_source, "auto"),
        ("old_logprobs", old_logprobs, "recompute"),
    ):
        if value == "sampler" and not watchable:
            raise ValueError(
                f"{setting}='sampler' needs transformers' generate without tools or rollout_func; use "
                f"{setting}={default!r}"
            )
    if old_logprobs == "sampler" and not scores_old_logprobs:
        raise ValueError(
            "old_logprobs='sampler' would have no effect: each batch is used for one optimizer update, so TRL needs "
            "no old log-probabilities; leave it at 'recompute'"
        )
    wanted = entropy_source == "sampler" or (entropy_source == "auto" and not scores_old_logprobs)
    instead = old_logprobs == "sampler"
    return Sources(recorded=(wanted or instead) and watchable, recorded_old_logprobs=instead)


class Recorder(Protocol):
    """Gives what was recorded during sampling."""

    def stacked(self, prompt_ids: Tensor, completion_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`SamplerRecorder.stacked`."""


@dataclass(kw_only=True)
class Observed:
    """Data observed while TRL samples and scores one round."""

    number: int = 0
    """Index of the round within its step."""

    records: bool = False
    """Whether log-probabilities and entropies are recorded during sampling."""

    recorder: Recorder | None = None
    """The recorder of the sampler, if it was used."""

    rewards: Tensor | None = None
    """``[B, F]`` rewards of all ranks."""

    entropies: Tensor | None = None
    """``[B, T]`` entropies from TRL's pass over old log-probabilities, if it made one."""

    rows: dict[str, Tensor] = field(default_factory=dict)
    """This rank's results of :func:`sampled_lengths`."""


def sampled_lengths(
    completion_ids: Sequence[Sequence[int]],
    tool_mask: Sequence[Sequence[int]] | None,
    ends: set[int],
    device: torch.device,
) -> dict[str, Tensor]:
    """``sampled_tokens``, the number of tokens that the policy sampled, and ``cut``, whether the limit cut it; ``[B]``.

    Args:
        completion_ids: as sampled, without padding.
        tool_mask: 1 on the policy's own tokens; ``None`` if all are.
        ends: ids of the tokens that end a completion.
        device: where to put the result.
    """
    lengths = [len(ids) for ids in completion_ids] if tool_mask is None else [sum(own) for own in tool_mask]
    return {
        "sampled_tokens": torch.tensor(lengths, device=device),
        "cut": torch.tensor([ids[-1] not in ends for ids in completion_ids], device=device),
    }


def measured(
    output: Mapping[str, Any],
    seen: Observed,
    needs: frozenset[str],
    score: Callable[[Any], tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """The sampling policy's ``entropies`` and, where TRL has none, its ``sampled_logprobs``, both ``[B, T]``.

    Args:
        output: TRL's output for this rank.
        seen: data observed during the round.
        needs: :attr:`entroshape.Method.needs`. If it is empty no pass is made, but entropies observed anyway are kept.
        score: makes a scoring pass over ``output``. Called only if no other source has what the method needs.
    """
    found: dict[str, Tensor] = {}
    has_logprobs = "old_per_token_logps" in output
    own = None
    if seen.recorder is not None:
        own = seen.recorder.stacked(output["prompt_ids"], output["completion_ids"], output["completion_mask"])
    elif needs and not has_logprobs:
        own = score(output)
    # Without old log-probabilities, the observed pass may be the reference model's.
    entropies = own[1] if own is not None else seen.entropies if has_logprobs else None
    if entropies is not None:
        found["entropies"] = entropies.detach().float()
    if "logprobs" in needs and not has_logprobs and own is not None:
        found["sampled_logprobs"] = own[0]
    return found


class SamplerRecorder:
    """While active, records the log-probability and entropy of each token that ``model.generate`` samples.

    A forward hook on the causal language model sees its final logits (after softcapping or scaling, before the
    temperature) once per token, so recording needs no extra forward pass. The drawn token is known only when it is fed
    back. Until then the recorder holds the logits ``[B, V]`` of one position, and otherwise 20 bytes per token.

    Args:
        model: the unwrapped causal language model that will sample; for PEFT, the base model.
        temperature: sampling temperature. All values are those of ``softmax(logits / temperature)``.
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
        # A view would keep the logits of the whole prompt alive, and a compiled model reuses the buffer.
        self._logits = output.logits[:, -1].detach().clone()

    def _finish(self, tokens: Tensor) -> None:
        """Records the log-probabilities and entropies of the last logits, once the tokens drawn from them are known."""
        if self._logits is None:
            return
        if len(tokens) != len(self._logits):  # not one pass per token: :meth:`stacked` will raise
            tokens = self._logits.new_zeros(len(self._logits), dtype=torch.long)
        logprobs, entropies = logprob_and_entropy(self._logits, tokens, temperature=self._temperature)
        self._logprobs.append(logprobs)
        self._entropies.append(entropies)
        self._logits = None

    def stacked(self, prompt_ids: Tensor, completion_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what was recorded, aligned with the sampled tokens.

        Args:
            prompt_ids: ``[B, P]``, padded on the left.
            completion_ids: ``[B, T]``, padded on the right.
            mask: ``[B, T]`` 0/1, the live tokens of the completions.

        Returns:
            Log-probabilities of the tokens and entropies of the distributions that they were drawn from, both
            ``[B, T]`` float32, in nats; 0 in columns without a live token.

        Raises:
            RuntimeError: sampling did not run the model once per token on all rows (chunked prefill, beams,
            speculative decoding), so the recorded columns cannot be matched to tokens.
        """
        live = mask.bool()
        used = int(live.sum(dim=1).max())
        if self._logits is not None and len(self._fed) <= completion_ids.shape[1]:
            self._finish(completion_ids[:, len(self._fed) - 1])
        if not self._belongs(prompt_ids, completion_ids, live, used):
            shapes = sorted({len(column) for column in self._fed})
            raise RuntimeError(
                f"sampling ran the model {len(self._fed)} times on batches of {shapes}; expected one run per token "
                f"on {len(live)} rows of {used} tokens. Set entropy_source='scoring' to use a separate pass"
            )
        empty = torch.zeros(len(live), 0, device=live.device)
        columns = (torch.stack(own[:used], dim=1) if used else empty for own in (self._logprobs, self._entropies))
        logprobs, entropies = (pad(own, (0, live.shape[1] - used)) for own in columns)
        return logprobs, entropies

    def _belongs(self, prompt_ids: Tensor, completion_ids: Tensor, live: Tensor, used: int) -> bool:
        """Whether column ``t`` belongs to token ``t``: the model is fed the token before the one that it samples."""
        runs = min(len(self._fed), used + 1)
        if len(self._entropies) < used or any(len(fed) != len(live) for fed in self._fed[:runs]):
            return False
        if not used:
            return True
        fed = torch.stack(self._fed[:runs], dim=1)
        before = torch.cat([prompt_ids[:, -1:], completion_ids], dim=1)[:, :runs]
        known = torch.cat([live[:, :1], live], dim=1)[:, :runs]
        return torch.equal(fed[known], before[known])
