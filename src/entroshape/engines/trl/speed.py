"""Speed, not credit assignment: the same log-probabilities, gradients and figures with less work and less padding.

Four parts, each of which can be left out: the output layer in tiles, micro-batches sorted by length, positions that do
not depend on padding, and figures of the loss as means over an update's tokens, which sorting makes necessary.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from trl.trainer.utils import FusedCausalLMOutput

from entroshape.credit.entropy import linear_logprob_and_entropy
from entroshape.engines.trl.batch import LEFT_PADDED, Rows, take_rows

# --- the output layer in tiles --------------------------------------------------------------------------------------

TRITON = ("cuda", "xpu")
"""Devices for which TRL has its own kernel, which is not replaced."""

CHANGES_LOGITS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Options of a model that change its logits after the output layer."""


def tile_head(model: Any, temperature: float) -> bool:
    """Lets TRL's fused forward pass of the policy use our tiles, if the model allows it.

    TRL 1.16 never holds ``[B, T, V]`` logits in training. Without its Triton kernel it works on tiles of 4096 x 32,768
    logits, for prompts and padding too. :func:`linear_logprob_and_entropy` takes smaller tiles, for the tokens of
    completions alone, and its backward pass leaves out those without a gradient: gated groups, clipped ratios.

    Args:
        model: the unwrapped policy. The weights of its output layer must be here when it is used (no FSDP, no
            DeepSpeed), and nothing may need entropies with a gradient.
        temperature: of sampling.

    Returns:
        Whether it does. It does not where the model changes its logits after the output layer.
    """
    config = model.config.get_text_config()
    if any(getattr(config, name, None) not in (None, 1.0) for name in CHANGES_LOGITS):
        return False
    theirs = model.forward

    @wraps(theirs)  # ``generate`` checks its arguments against the signature
    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Tensor | None = None, **kwargs: Any) -> Any:
        head = self.get_output_embeddings()
        another = not fused_lm_head or "shift_labels" in kwargs or kwargs.get("output_router_logits")
        if labels is None or another or not _plain(head):
            own = {"labels": labels} if labels is not None else {}
            return theirs(*args, fused_lm_head=fused_lm_head, **own, **kwargs)
        hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state[:, :-1]
        return _output(hidden, head, labels[:, 1:], temperature)

    model.forward = MethodType(forward, model)
    return True


def _plain(head: Any) -> bool:
    """An ordinary layer, whose weights are here: not one with an adapter, nor one that is sharded."""
    return type(head) is nn.Linear and head.weight.device.type not in TRITON and type(head.weight) is nn.Parameter


def _output(hidden: Tensor, head: nn.Linear, labels: Tensor, temperature: float) -> FusedCausalLMOutput:
    """What TRL's fused forward pass gives: ``[B, T - 1]``, 0 where the label is -100."""
    live = labels != -100
    found = linear_logprob_and_entropy(hidden[live], head.weight, labels[live], temperature=temperature, bias=head.bias)
    logprobs, entropies = (value.new_zeros(live.shape).masked_scatter(live, value) for value in found)
    return FusedCausalLMOutput(log_probs=logprobs, entropy=entropies, label_mask=live)


# --- micro-batches sorted by length ---------------------------------------------------------------------------------


def can_be_taken(rows: Mapping[str, Any]) -> bool:
    """Whether :func:`take_rows` knows all columns: not of images, nor of tensors over prompt and completion at once."""
    widths = {1, rows["completion_ids"].shape[1]}
    return all(
        value is None
        or (isinstance(value, Tensor) and (name in LEFT_PADDED or value.ndim < 2 or value.shape[1] in widths))
        for name, value in rows.items()
    )


def by_length(batches: Sequence[Rows], window: int, **how: Any) -> list[Rows]:
    """The same rows with less padding: sorted by length within each window, each micro-batch cut to its longest row.

    Args:
        batches: micro-batches of one size and width, in the order in which they are trained on. What has no rows,
            numbers and ``None``, stays as it is.
        window: how many micro-batches make one update, within which it makes no difference which of them holds a row.
        **how: rows are taken, as in :func:`take_rows`.
    """
    made = []
    for start in range(0, len(batches), window):
        own = batches[start : start + window]
        with_rows = [name for name, value in own[0].items() if isinstance(value, Tensor) and value.ndim]
        joined = {name: torch.cat([batch[name] for batch in own]) for name in with_rows}
        order = joined["completion_mask"].sum(dim=1).argsort(stable=True)
        for batch, index in zip(own, order.split(len(own[0]["completion_mask"])), strict=True):
            made.append({**batch, **take_rows(joined, index, **how)})
    return made


# --- positions ------------------------------------------------------------------------------------------------------

TOKENS, PADDING = 6, 5
"""Of the row that is looked at with and without padding."""


def count_positions(policy: Any, reference: Any | None) -> bool:
    """Makes the policy (and a reference model) count positions from the mask, if padding changes what it says.

    TRL passes a mask but no positions to the model. A model with learned absolute positions (GPT-2) then counts
    padding: a row's log-probabilities would depend on the rows that it is batched with, and differ from those of the
    policy that sampled, since ``generate`` does count from the mask.

    Args:
        policy: unwrapped, with its weights here.
        reference: unwrapped; ``None`` if there is none.

    Returns:
        Whether padding on the left is known to change nothing.
    """
    if not _moves_with_padding(policy):
        return True
    for model in (policy, reference):
        if model is not None:
            model.register_forward_pre_hook(_from_mask, with_kwargs=True)
    if not _moves_with_padding(policy):
        return True
    warnings.warn(
        f"the output of {type(policy).__name__} depends on the amount of prompt padding, so log-probabilities in "
        "training differ from those in sampling. Use prompts of equal length, which need no padding",
        stacklevel=2,
    )
    return False


@torch.no_grad()
def _moves_with_padding(model: Any) -> bool:
    """Whether left padding changes the log-probabilities of a short row by more than rounding."""
    vocabulary = model.config.get_text_config().vocab_size
    row = (torch.arange(1, TOKENS + 1, device=next(model.parameters()).device) % vocabulary)[None]
    mask = torch.ones_like(row)
    was_training = model.training
    model.eval()
    bare = model(input_ids=row, attention_mask=mask).logits
    padded = model(
        input_ids=torch.cat([row[:, :1].expand(1, PADDING), row], dim=1),
        attention_mask=torch.cat([torch.zeros_like(row[:, :1]).expand(1, PADDING), mask], dim=1),
    ).logits[:, -TOKENS:]
    model.train(was_training)
    moved = (bare.float().log_softmax(dim=-1) - padded.float().log_softmax(dim=-1)).abs().mean()
    return float(moved) > torch.finfo(bare.dtype).eps ** 0.5


def _from_mask(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
    mask, given = kwargs.get("attention_mask"), kwargs.get("position_ids")
    if mask is None or mask.ndim != 2 or given is not None or kwargs.get("past_key_values") is not None:
        return None
    return args, {**kwargs, "position_ids": (mask.long().cumsum(dim=1) - 1).clamp(min=0)}


# --- figures of the loss --------------------------------------------------------------------------------------------

TOKEN_FIGURES = ("entropy", "kl")
"""TRL's figures that are means over tokens."""

RATIO_FIGURES = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
"""Those that are means over whatever has an importance ratio: tokens, or responses, as many in each micro-batch."""


class TokenMeans:
    """Holds back the micro-batches' figures until their update is whole.

    TRL logs the mean of its micro-batches' means. Where rows are sorted by length, that would count a token of a short
    response more than one of a long response.

    Args:
        names: of the figures, keys of TRL's metrics.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._held: dict[str, list[tuple[float, float]]] = {name: [] for name in names}

    def take(self, metrics: MutableMapping[str, list[float]], tokens: float, *, last: bool) -> None:
        """Takes a micro-batch's figures out of ``metrics``; with the ``last`` of an update, their means go back in.

        Args:
            metrics: TRL's lists, whose last entries are this micro-batch's.
            tokens: how many tokens of all ranks they are means over.
            last: whether the update is whole.
        """
        for name in self._names:
            held = self._held[name]
            if metrics.get(name):
                held.append((metrics[name].pop(), tokens))
            if last and held:
                total = sum(count for _, count in held)
                metrics[name].append(sum(value * count for value, count in held) / max(total, 1.0))
                held.clear()
