"""The output layer in tiles, for the tokens that count: where TRL has no kernel of its own.

TRL 1.16 never holds ``[B, T, V]`` logits in training either. On a GPU it has a Triton kernel for that, which is left
alone. Elsewhere it works on tiles of 4096 x 32,768 logits, for prompts and padding too;
:func:`linear_logprob_and_entropy` takes smaller ones, for the tokens of completions alone, and its backward pass leaves
out those without a gradient: gated groups, clipped ratios.
"""

from __future__ import annotations

from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from trl.trainer.utils import FusedCausalLMOutput

from entroshape.credit.entropy import linear_logprob_and_entropy

if TYPE_CHECKING:
    from entroshape.engines.trl.watched import WatchedGRPOTrainer

TRITON = ("cuda", "xpu")
"""Devices on which TRL's own kernel runs."""

OF_THE_LOGITS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Options of a model that change its logits after the output layer."""


def tile_head(trainer: WatchedGRPOTrainer) -> bool:
    """Lets TRL's fused forward pass of the policy use our tiles, if model and trainer allow it.

    Not where an entropy bonus needs entropies with a gradient, nor where logits are changed after the output layer,
    nor where the weights of that layer may be somewhere else when it is used.

    Returns:
        Whether it does.
    """
    model = trainer.sampled_model()
    config = model.config.get_text_config()
    elsewhere = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    changed = any(getattr(config, name, None) not in (None, 1.0) for name in OF_THE_LOGITS)
    if elsewhere or changed or trainer._entropy_bonus_enabled or trainer.args.cast_lm_head_to_fp32:
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
        return _output(hidden, head, labels[:, 1:], trainer.temperature)

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
