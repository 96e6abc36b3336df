"""Rollouts of the tiny model for verl: tensors padded on both sides, with what transformers says about them."""

import numpy as np
import torch
from tiny import tiny_model
from verl import DataProto

from entroshape.credit.entropy import logprob_and_entropy

PROMPT, RESPONSE, ROWS = 3, 6, 8


def rollouts(seed=0):
    """Two prompts with four responses each, of different lengths; right and wrong ones in both groups."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (ROWS, PROMPT + RESPONSE), generator=g)
    mask = torch.ones_like(ids)
    mask[::3, 0] = 0  # shorter prompts, padded on the left
    lengths = torch.tensor([6, 4, 5, 6, 2, 6, 3, 6])
    mask[:, PROMPT:] = torch.arange(RESPONSE) < lengths[:, None]
    ids = ids * mask
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    return {"ids": ids, "mask": mask, "rewards": rewards, "group": torch.arange(ROWS) // 4}


def scored(model, data, temperature=1.0):
    """Log-probabilities, with gradients, and entropies of the responses: ``[B, T]`` by transformers."""
    positions = (data["mask"].cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=data["ids"], attention_mask=data["mask"], position_ids=positions).logits
    return logprob_and_entropy(logits[:, PROMPT - 1 : -1], data["ids"][:, PROMPT:], temperature=temperature)


def proto(data, **tensors):
    """The same as verl's DataProto."""
    out = DataProto.from_dict(
        tensors={
            "prompts": data["ids"][:, :PROMPT],
            "responses": data["ids"][:, PROMPT:],
            "input_ids": data["ids"],
            "attention_mask": data["mask"],
            "position_ids": (data["mask"].cumsum(-1) - 1).clamp(min=0),
            "response_mask": data["mask"][:, PROMPT:],
            **tensors,
        },
        non_tensors={"uid": np.array([f"prompt{int(each)}" for each in data["group"]], dtype=object)},
    )
    out.meta_info["temperature"] = 1.0
    return out


def model():
    return tiny_model().eval()
