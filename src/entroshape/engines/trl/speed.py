"""Speed, not credit assignment: the same log-probabilities, gradients and metrics with less work and less padding.

It has four parts: a tiled output layer, micro-batches sorted by length, positions that do not depend on padding, and
loss metrics averaged over the tokens of an update, which sorting makes necessary. Each part can be removed.
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

# --- the tiled output layer -----------------------------------------------------------------------------------------

TRITON = ("cuda", "xpu")
"""Devices on which TRL uses its own Triton kernel, which we keep."""

CHANGES_LOGITS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Options of a model's configuration that change its logits after the output layer."""


def tile_head(model: Any, temperature: float) -> bool:
    """Makes TRL's fused forward pass of the policy use our tiles, if the model allows it.

    TRL 1.16 never holds ``[B, T, V]`` logits in training. Without its Triton kernel it works on tiles of 4096 x 32,768
    logits and includes prompts and padding. :func:`linear_logprob_and_entropy` uses smaller tiles on completion tokens
    only, and its backward pass skips tokens without a gradient (gated groups, clipped ratios).

    Args:
        model: the unwrapped policy. The weights of its output layer must be local (no FSDP, no DeepSpeed), and nothing
            may need the gradient of the entropies.
        temperature: sampling temperature.

    Returns:
        Whether the tiles are used. They are not if the model changes its logits after the output layer.
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
    """Whether ``head`` is an ordinary linear layer with local weights: no adapter, not sharded."""
    return type(head) is nn.Linear and head.weight.device.type not in TRITON and type(head.weight) is nn.Parameter


def _output(hidden: Tensor, head: nn.Linear, labels: Tensor, temperature: float) -> FusedCausalLMOutput:
    """The output of TRL's fused forward pass: ``[B, T - 1]``, 0 where the label is -100."""
    live = labels != -100
    found = linear_logprob_and_entropy(hidden[live], head.weight, labels[live], temperature=temperature, bias=head.bias)
    logprobs, entropies = (value.new_zeros(live.shape).masked_scatter(live, value) for value in found)
    return FusedCausalLMOutput(log_probs=logprobs, entropy=entropies, label_mask=live)


# --- micro-batches sorted by length ---------------------------------------------------------------------------------


def can_be_taken(rows: Mapping[str, Any]) -> bool:
    """Whether :func:`take_rows` can cut all tensors: not those of images or of prompt and completion together."""
    widths = {1, rows["completion_ids"].shape[1]}
    return all(
        value is None
        or (isinstance(value, Tensor) and (name in LEFT_PADDED or value.ndim < 2 or value.shape[1] in widths))
        for name, value in rows.items()
    )


def by_length(batches: Sequence[Rows], window: int, **how: Any) -> list[Rows]:
    """Sorts rows by length within each window and cuts each micro-batch to its longest row, to reduce padding.

    Args:
        batches: micro-batches of equal size and width, in training order. Values that are not per row (numbers and
            ``None``) stay as they are.
        window: number of micro-batches per update. Within an update, rows can move between micro-batches freely.
        **how: options of :func:`take_rows`.
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
"""Lengths of the row that is compared with and without padding, and of that padding."""


def count_positions(policy: Any, reference: Any | None) -> bool:
    """Makes the policy and the reference model derive positions from the mask, if padding changes their output.

    TRL passes a mask but no positions to the model. A model with learned absolute positions (GPT-2) then counts
    padding: the log-probabilities of a row would depend on the rows that it is batched with. They would also differ
    from those of sampling, because ``generate`` derives positions from the mask.

    Args:
        policy: the unwrapped policy, with local weights.
        reference: the unwrapped reference model; ``None`` if there is none.

    Returns:
        Whether left padding no longer changes the output.
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


# --- metrics of the loss --------------------------------------------------------------------------------------------

TOKEN_FIGURES = ("entropy", "kl")
"""TRL's metrics that are means over tokens."""

RATIO_FIGURES = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
"""TRL's metrics that are means over importance ratios: over tokens, or over completions for sequence ratios."""


class TokenMeans:
    """Averages metrics over the tokens of an update instead of over its micro-batches.

    TRL logs the mean of the means of its micro-batches. With rows sorted by length, a token of a short completion
    would then weigh more than a token of a long one.

    Args:
        names: names of the metrics, which are keys of TRL's metrics.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._held: dict[str, list[tuple[float, float]]] = {name: [] for name in names}

    def take(self, metrics: MutableMapping[str, list[float]], tokens: float, *, last: bool) -> None:
        """Moves the metrics of a micro-batch out of ``metrics``, and puts their means back after the ``last`` one.

        Args:
            metrics: TRL's lists. Their last entries belong to this micro-batch.
            tokens: the number of tokens, over all ranks, that the entries are means over.
            last: whether this is the last micro-batch of the update.
        """
        for name in self._names:
            held = self._held[name]
            if metrics.get(name):
                held.append((metrics[name].pop(), tokens))
            if last and held:
                total = sum(count for _, count in held)
                metrics[name].append(sum(value * count for value, count in held) / max(total, 1.0))
                held.clear()
