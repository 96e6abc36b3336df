"""Sampling and scoring as TRL does them, watched: rewards, entropies and seconds are kept on the way."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from entroshape.engines.trl.recorder import SamplingEntropies

PREFIX = "entroshape/"
"""Of the names under which our metrics are logged."""


class WatchedGRPOTrainer(GRPOTrainer):
    """``GRPOTrainer`` that keeps what it computes on the way: no behaviour of its own.

    :meth:`_sample` gives TRL's output of one round of sampling and scoring with the sampling policy's entropies added.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._scored_rewards: Tensor | None = None
        self._scored_entropies: Tensor | None = None
        self._sampled_entropies: SamplingEntropies | None = None
        self._sampling = False
        self._sampled_tokens = 0
        self._seconds: dict[str, float] = defaultdict(float)

    @property
    def _scores_old_logprobs(self) -> bool:
        """Whether TRL will make an old-log-probability pass over this batch (its own condition)."""
        every = self.args.steps_per_generation * self.num_iterations
        corrected = self.use_vllm and self.vllm_importance_sampling_correction
        return self.args.gradient_accumulation_steps % every != 0 or corrected

    @property
    def _records_sampler(self) -> bool:
        """Whether the entropies are read off the sampling logits: one call of ``generate`` that we can watch."""
        watchable = not (
            self.use_vllm or self.use_transformers_continuous_batching or self.tools or self.rollout_func is not None
        )
        if self.args.entropy_source == "sampler" and not watchable:
            raise ValueError(
                "entropy_source='sampler' needs transformers' generate without tools or rollout_func; use "
                "entropy_source='auto'"
            )
        return watchable and (
            self.args.entropy_source == "sampler"
            or (self.args.entropy_source == "auto" and not self._scores_old_logprobs)
        )

    def _generate(self, prompts: list) -> Any:
        with self._timed("sampling"):
            if not (self._sampling and self._records_sampler):
                return super()._generate(prompts)
            model = self.accelerator.unwrap_model(self.model)
            base = model.get_base_model() if hasattr(model, "get_base_model") else model
            with SamplingEntropies(base, self.temperature) as self._sampled_entropies:
                return super()._generate(prompts)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        try:
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        except Exception as error:
            raise RuntimeError(
                f"scoring failed at step {self.state.global_step} in one of the reward functions "
                f"{', '.join(self.reward_func_names)}: {type(error).__name__}: {error}. "
                f"Checkpoints saved so far in {self.args.output_dir} are good to resume from."
            ) from error
        self._scored_rewards = rewards
        return rewards

    def _get_per_token_logps_and_entropies(self, *args: Any, compute_entropy: bool = False, **kwargs: Any) -> Any:
        watch = self._sampling and self._scored_entropies is None
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            *args, compute_entropy=compute_entropy or watch, **kwargs
        )
        if watch:
            self._scored_entropies = entropies
        return logps, entropies, aux_loss

    def _sample(self, inputs: list[dict[str, Any]]) -> tuple[dict[str, Any], Tensor]:
        """TRL's own output for this rank's rows, with ``entropies``, and the rewards ``[B, F]`` of all ranks."""
        self._scored_entropies = self._sampled_entropies = self._scored_rewards = None
        self._sampling = True
        try:
            output = super()._generate_and_score_completions(inputs)
        finally:
            self._sampling = False
        if self._scored_rewards is None:
            raise RuntimeError(
                "TRL did not score the rollouts through _calculate_rewards; see entroshape.engines.trl.seams"
            )
        entropies = self._entropies(output)
        if entropies is not None:
            output["entropies"] = entropies.detach().float()
        return output, self._scored_rewards

    def _entropies(self, output: dict[str, Any]) -> Tensor | None:
        """``[B, T]`` entropies of the sampling policy for this rank's rows, from the cheapest source that there is."""
        rows, length = output["completion_ids"].shape
        if self._sampled_entropies is not None:
            width = min(length, int(output["completion_mask"].sum(dim=1).max()))
            return torch.nn.functional.pad(self._sampled_entropies.stacked(rows, width), (0, length - width))
        if "old_per_token_logps" in output:
            return self._scored_entropies
        if not self.args.credit_method.needs:
            return None
        return self._score(output)[1]

    @torch.no_grad()
    def _score(self, output: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """A pass of its own over this rank's rows: log-probabilities and entropies, both ``[B, T]``."""
        logps, entropies, _ = super()._get_per_token_logps_and_entropies(
            self.model,
            torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
            torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
            output["completion_ids"].size(1),
            batch_size=self.args.per_device_train_batch_size,
            compute_entropy=True,
        )
        return logps, entropies

    def _note(self, name: str, value: float) -> None:
        self._metrics["train"][PREFIX + name].append(float(value))

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] += time.perf_counter() - started

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch, as in TRL; what it spends beyond sampling, scoring and shaping is the update."""
        before, started = sum(self._seconds.values()), time.perf_counter()
        loss = super().training_step(*args, **kwargs)
        self._seconds["updating"] += time.perf_counter() - started - (sum(self._seconds.values()) - before)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As in TRL, with the seconds of each phase since the last log and the sampled tokens per second."""
        if self.model.training and self._seconds:
            for phase in ("sampling", "scoring", "shaping", "updating"):
                self._note(f"seconds_{phase}", self._seconds[phase])
            self._note("tokens_per_second", self._sampled_tokens / max(sum(self._seconds.values()), 1e-9))
            self._seconds.clear()
            self._sampled_tokens = 0
        super().log(logs, start_time)
