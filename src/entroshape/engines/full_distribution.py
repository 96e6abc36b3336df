"""Sampling settings that leave the policy's full distribution as it is, and those that do not.

Entropies are of the whole next-token distribution at the sampling temperature. Tokens therefore have to be drawn from
exactly that distribution, whatever the sampler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ANOTHER_POLICY = (
    "tokens would then be drawn from another distribution than the one whose entropy (and log-probability) is used; "
    "the method needs the sampling policy's own"
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
"""Settings of transformers', vLLM's and verl's samplers that change the distribution. For each, the values that do not,
besides ``None``."""

VLLM_NEUTRAL: Mapping[str, tuple[Any, ...]] = {**NEUTRAL, "top_k": (0, -1)}
"""The same for a sampler that is vLLM, which writes "all tokens" as -1 too."""


def reshaping(names: Iterable[str]) -> list[str]:
    """Which of these settings would change the distribution, if they were set to anything."""
    return sorted(NEUTRAL.keys() & set(names))
