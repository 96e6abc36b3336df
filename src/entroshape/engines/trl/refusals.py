"""What cannot work, and would only be seen in the numbers: refused by name when the trainer is built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entroshape.engines.trl.watched import WatchedGRPOTrainer

ANOTHER_POLICY = (
    "tokens would then be drawn from another distribution than the one whose entropy (and log-probability) is used; "
    "the method needs the sampling policy's own"
)

_NEUTRAL: dict[str, tuple[Any, ...]] = {
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
"""Settings of transformers' and vLLM's samplers that change the distribution; the values that do not, besides None."""


def check_generation_kwargs(names: Iterable[str]) -> None:
    """Raise ``ValueError`` if extra generation settings would change the sampling policy."""
    shaping = sorted(_NEUTRAL.keys() & set(names))
    if shaping:
        raise ValueError(f"generation_kwargs must not hold {', '.join(shaping)}: {ANOTHER_POLICY}")


def check_generation_config(trainer: WatchedGRPOTrainer) -> None:
    """Raise ``ValueError`` if the model's own ``generation_config`` would change the sampling policy.

    transformers fills what TRL leaves unset from there, and hub models do set it.
    """
    if trainer.use_vllm or trainer.rollout_func is not None:
        return
    config = getattr(trainer.sampled_model(), "generation_config", None)
    for name, neutral in _NEUTRAL.items():
        value = getattr(config, name, None)
        overridden = getattr(trainer.generation_config, name, None) is not None
        if value is not None and value not in neutral and not overridden:
            raise ValueError(
                f"the model's generation_config.{name} must be None, got {value!r}: {ANOTHER_POLICY}. "
                f"Set model.generation_config.{name} = None before training"
            )


def check_sampler_sources(trainer: WatchedGRPOTrainer) -> None:
    """Raise ``ValueError`` if something is to come from the sampler that cannot, or that nothing would use."""
    args = trainer.args
    for name, instead in (("entropy_source", "auto"), ("old_logprobs", "recompute")):
        if getattr(args, name) == "sampler" and not trainer.sampler_is_watchable:
            raise ValueError(
                f"{name}='sampler' needs transformers' generate without tools or rollout_func; use {name}={instead!r}"
            )
    if args.old_logprobs == "sampler" and not trainer._scores_old_logprobs:
        raise ValueError(
            "old_logprobs='sampler' would have no effect: every batch serves one optimizer step, so TRL needs no old "
            "log-probabilities; leave it at 'recompute'"
        )


def check_refillable(trainer: WatchedGRPOTrainer) -> None:
    """Raise ``ValueError`` if one-outcome groups cannot be refilled from the train dataset."""
    if not hasattr(trainer.train_dataset, "__len__"):
        raise ValueError(
            "dynamic_sampling needs a train_dataset with a length, got an iterable one; set dynamic_sampling=False"
        )
    if {"image", "images"} & set(trainer.train_dataset.column_names) or trainer.environment_factories is not None:
        raise ValueError("dynamic_sampling does not support images or environments yet; set dynamic_sampling=False")
