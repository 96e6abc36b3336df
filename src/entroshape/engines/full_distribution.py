"""Sampling settings that change the policy's distribution, with the values that leave it unchanged.

Entropies describe the full next-token distribution at the sampling temperature. Tokens therefore have to be drawn from
exactly this distribution, with every sampler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ANOTHER_POLICY = (
    "tokens would then be drawn from a different distribution than the one that entropies and log-probabilities "
    "describe; the method needs those of the sampling policy"
)

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "do_sample": (True,),
    "temperature": (),
    "top_p": (1.0,),
    "top_k": (0,),
    "min_p": (0.0,),
    "top_h": (),
    "typical_p": (1.0,),
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": (),
    "bad_words": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "allowed_token_ids": (),
    "sequence_bias": (),
    "logit_bias": (),
    "logits_processors": (),
    "structured_outputs": (),
    "exponential_decay_length_penalty": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "min_tokens": (0,),
    "guidance_scale": (1.0,),
    "watermarking_config": (),
    "num_beams": (1,),
    "penalty_alpha": (),
    "dola_layers": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
}
"""Settings of the samplers of transformers, vLLM and verl that change the distribution, each with the values that do
not. ``None`` never does."""

VLLM_NEUTRAL: Mapping[str, tuple[Any, ...]] = {**NEUTRAL, "top_k": (0, -1)}
"""The same for vLLM, where -1 also means all tokens."""


def reshaping(names: Iterable[str]) -> list[str]:
    """The settings among ``names`` that can change the distribution."""
    return sorted(NEUTRAL.keys() & set(names))
