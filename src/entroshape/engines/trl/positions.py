"""Positions that do not depend on how far a prompt is padded on the left.

TRL passes a mask but no positions to the model, and a model with learned absolute positions (GPT-2) then counts
padding: a row's log-probabilities would change with the rows that it is batched with, and be of another policy than the
one that sampled, for ``generate`` does count from the mask.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from entroshape.engines.trl.watched import WatchedGRPOTrainer

TOKENS, PADDING = 6, 5
"""Of the row that is looked at with and without padding."""


def count_positions(trainer: WatchedGRPOTrainer) -> bool:
    """Makes the policy (and a reference model) count positions from the mask, if padding changes what it says.

    Returns:
        Whether it is known that padding on the left changes nothing. Sharded models and those that read images are
        not looked at.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or trainer._is_vlm:
        return False
    policy = trainer.sampled_model()
    if not _moves_with_padding(policy):
        return True
    for model in (policy, trainer.ref_model):
        if model is not None:
            trainer.accelerator.unwrap_model(model).register_forward_pre_hook(_from_mask, with_kwargs=True)
    if not _moves_with_padding(policy):
        return True
    warnings.warn(
        f"what {type(policy).__name__} says of a token depends on how far its prompt is padded, so log-probabilities "
        "of training differ from those of sampling; prompts of one length have no padding",
        stacklevel=2,
    )
    return False


@torch.no_grad()
def _moves_with_padding(model: Any) -> bool:
    """Whether log-probabilities of a short row change by more than rounding if it is padded on the left."""
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
