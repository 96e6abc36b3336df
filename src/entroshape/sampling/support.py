"""Says which models the sampling loop cannot drive, before anything is sampled."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from transformers import GenerationMixin
from transformers.cache_utils import DynamicLayer

from entroshape.sampling.cache import layer_types

INPUTS = ("input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache")
"""Arguments that the loop passes to a model."""


def warn_of_generate(reason: str) -> None:
    """Warns, once per reason, that completions come from transformers' ``generate``.

    Args:
        reason: the end of a sentence, as from :func:`unsupported`.
    """
    # One place for all callers, so that Python shows the same warning once.
    warnings.warn(f"completions are sampled with transformers' generate, which is slower: {reason}", stacklevel=1)


def bare_model(model: Any) -> Any:
    """The causal language model inside a PEFT model, with its adapters; any other model as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def unsupported(model: Any) -> str | None:
    """Why the loop cannot sample from ``model``, as the end of a sentence; ``None`` if it can.

    Args:
        model: without the wrappers of distributed training; a PEFT model is allowed.

    Example:
        >>> unsupported(object())
        'object is not a model of transformers that can generate'
    """
    if any(adapter.is_prompt_learning for adapter in getattr(model, "peft_config", {}).values()):
        return "its adapter puts virtual tokens before the prompt"
    model = bare_model(model)
    name = type(model).__name__
    if not isinstance(model, GenerationMixin):
        return f"{name} is not a model of transformers that can generate"
    if model.config.is_encoder_decoder:
        return f"{name} has an encoder"
    if type(model).prepare_inputs_for_generation is not GenerationMixin.prepare_inputs_for_generation:
        return f"{name} prepares the inputs of sampling in its own way"
    missing = [each for each in INPUTS if each not in inspect.signature(type(model).forward).parameters]
    if missing:
        return f"{name} does not take {missing[0]}"
    others = sorted(layer.__name__ for layer in layer_types(model.config) - {DynamicLayer})
    return f"{name} needs a cache of {others[0]}s" if others else None
