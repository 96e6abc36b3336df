"""Sampling inside TRL: the loop of :mod:`entroshape.sampling` where it can drive the model, else TRL's own sampling.

Which of them samples is decided when the trainer is built, and :attr:`SamplingTrainer.sampling` says which and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from trl import GRPOTrainer

from entroshape.engines.trl import compat, sampler
from entroshape.sampling.draws import derived_seed
from entroshape.sampling.loop import SampledTokens, sample_tokens
from entroshape.sampling.support import bare_model, unsupported, warn_of_generate

TRAINING = 1
"""Last of the numbers that a training seed is derived from: other seeds of a run are derived from fewer numbers."""


def chosen_elsewhere(settings: Mapping[str, Any]) -> str | None:
    """The setting with which the user has chosen another way of sampling, as the end of a sentence; ``None`` if none.

    Args:
        settings: attributes of a built ``GRPOTrainer`` by name.
    """
    for name in ("use_vllm", "rollout_func", "use_transformers_continuous_batching", "tools", "environment_factories"):
        if settings[name]:
            return f"{name} is set"
    return None


def not_ours(trainer: Any, model: Any) -> str | None:
    """Why the loop cannot sample for ``trainer``, as the end of a sentence; ``None`` if it can.

    Args:
        trainer: a built ``GRPOTrainer`` without :func:`chosen_elsewhere`.
        model: its policy without the wrappers of distributed training.
    """
    if trainer._is_vlm:
        return "the model takes images"
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return "FSDP or DeepSpeed shards the weights"
    for name in ("generation_kwargs", "cache_implementation"):
        if getattr(trainer.args, name):
            return f"{name} is set"
    return unsupported(model)


class Sampled:
    """What the loop recorded, with the interface of :class:`entroshape.engines.trl.sampler.SamplerRecorder`."""

    def __init__(self, found: SampledTokens) -> None:
        self._found = found

    def stacked(self, prompt_ids: Tensor, completion_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`entroshape.engines.trl.sampler.SamplerRecorder.stacked`.

        Raises:
            RuntimeError: the completions are not those that were sampled.
        """
        live, ids = mask.bool(), self._found.ids
        width = live.shape[1]
        ids = pad(ids, (0, max(0, width - ids.shape[1])))[:, :width]
        if ids.shape != live.shape or not torch.equal(ids[live], completion_ids[live]):
            raise RuntimeError(
                "the completions are not those that were sampled. Set sampler='generate', or entropy_source='scoring' "
                "to use a separate pass"
            )
        both = (self._found.logprobs, self._found.entropies)
        logprobs, entropies = (pad(own, (0, max(0, width - own.shape[1])))[:, :width] for own in both)
        return logprobs, entropies


class SamplingTrainer(GRPOTrainer):
    """``GRPOTrainer`` with the choice of what samples its completions."""

    sampling: str
    """``"own"``, or ``"generate: "`` and the reason, or ``"TRL: "`` and the setting that chose another sampler."""

    _round: sampler.Observed | None = None  # while a round of sampling and scoring is under way
    _moment = (0, -1)  # after which update the last batch was sampled, and which one of those

    @property
    def _sampled_model(self) -> Any:
        """The model whose ``generate`` samples, without wrappers; for PEFT, the base model with its adapters."""
        return bare_model(self.accelerator.unwrap_model(self.model))

    def _choose_sampling(self) -> sampler.Sources:
        """Decides what samples, and where the sampling policy's entropies and log-probabilities come from."""
        args: Any = self.args
        elsewhere = chosen_elsewhere(vars(self))
        policy = self.accelerator.unwrap_model(self.model)
        asked = "sampler is 'generate'" if args.sampler == "generate" else None
        reason = asked or not_ours(self, policy) if elsewhere is None else None
        if args.sampler == "own" and (elsewhere or reason):
            raise ValueError(f"sampler='own' cannot be used: {elsewhere or reason}; use sampler='auto'")
        if reason is not None and not asked and self.accelerator.is_main_process:
            warn_of_generate(reason)
        self.sampling = f"TRL: {elsewhere}" if elsewhere else "own" if reason is None else f"generate: {reason}"
        # TRL's own condition for its pass over old log-probabilities.
        scores = args.gradient_accumulation_steps % (args.steps_per_generation * self.num_iterations) != 0
        scores = scores or (self.use_vllm and self.vllm_importance_sampling_correction)
        if not (self.use_vllm or self.rollout_func is not None):
            compat.check_generation_config(
                getattr(self._sampled_model, "generation_config", None), self.generation_config
            )
        return sampler.chosen_sources(
            args.entropy_source, args.old_logprobs, watchable=elsewhere is None, scores_old_logprobs=scores
        )

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        seen = self._round
        if seen is None or self.sampling != "own":
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        update, nth = self._moment
        with self.accelerator.autocast():
            found = sample_tokens(
                self._sampled_model,
                prompt_ids,
                max_new_tokens=self.max_completion_length,
                temperature=self.temperature,
                seed=derived_seed(self.args.seed, update, nth + 1, seen.number, TRAINING),
                ends=self.eos_token_ids,
                first_row=self.accelerator.process_index * len(prompt_ids),
            )
        if seen.records:
            seen.recorder = Sampled(found)
        return found.rows(), None
