"""Sampling and scoring as TRL does them, watched: rewards, entropies and seconds are kept on the way."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOTrainer

from entroshape.engines.trl.head import tile_head
from entroshape.engines.trl.positions import count_positions
from entroshape.engines.trl.recorder import SamplerRecorder
from entroshape.engines.trl.refusals import check_generation_config, check_sampler_sources
from entroshape.engines.trl.scoring import RewardError, blamed

PREFIX = "entroshape/"
"""Of the names under which our metrics are logged."""

BESIDE_THE_TOKENS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What TRL passes to the model besides tokens and their mask, where a model takes images."""


class WatchedGRPOTrainer(GRPOTrainer):
    """``GRPOTrainer`` that keeps what it computes on the way: no behaviour of its own.

    :meth:`_sample` gives TRL's output of one round of sampling and scoring with the sampling policy's entropies added.
    """

    _buffered_inputs: Any
    """TRL's: the micro-batches of the last generation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._scored_rewards: Tensor | None = None
        self._scored_entropies: Tensor | None = None
        self._recorder: SamplerRecorder | None = None
        self._sampled_rows: dict[str, Tensor] = {}
        self._sampling = False
        self._sampled_tokens = 0
        self._seconds: dict[str, float] = defaultdict(float)
        self.reward_funcs: list[Any] = list(map(blamed, self.reward_funcs, self.reward_func_names))
        check_sampler_sources(self)
        check_generation_config(self)
        self.pads_without_effect = count_positions(self)
        """Whether padding prompts on the left is known to change nothing."""
        tile_head(self)
        self.add_callback(OptimizerTimer(self))

    def sampled_model(self) -> Any:
        """The model whose ``generate`` samples, without wrappers; for PEFT, the base model with its adapters."""
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    @property
    def sampler_is_watchable(self) -> bool:
        """Whether sampling is one call of ``generate``, so that its logits can be read off."""
        return not (
            self.use_vllm or self.use_transformers_continuous_batching or self.tools or self.rollout_func is not None
        )

    @property
    def _scores_old_logprobs(self) -> bool:
        """Whether TRL will make an old-log-probability pass over this batch (its own condition)."""
        every = self.args.steps_per_generation * self.num_iterations
        corrected = self.use_vllm and self.vllm_importance_sampling_correction
        return self.args.gradient_accumulation_steps % every != 0 or corrected

    @property
    def _records_sampler(self) -> bool:
        """Whether entropies, or old log-probabilities, are read off the sampling logits."""
        source = self.args.entropy_source
        wanted = source == "sampler" or (source == "auto" and not self._scores_old_logprobs)
        return (wanted or self.args.old_logprobs == "sampler") and self.sampler_is_watchable

    def _generate(self, prompts: list) -> Any:
        if not self._sampling:
            return super()._generate(prompts)
        with self._timed("sampling"):
            if self._records_sampler:
                with SamplerRecorder(self.sampled_model(), self.temperature) as self._recorder:
                    sampled = super()._generate(prompts)
            else:
                sampled = super()._generate(prompts)
        _, completion_ids, tool_mask, *_ = sampled
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        lengths = [len(ids) for ids in completion_ids] if tool_mask is None else [sum(own) for own in tool_mask]
        self._sampled_rows = {
            "sampled_tokens": torch.tensor(lengths, device=self.accelerator.device),
            "cut": torch.tensor([ids[-1] not in ends for ids in completion_ids], device=self.accelerator.device),
        }
        return sampled

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        step = self.state.global_step
        try:
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        except Exception as error:
            names = ", ".join(self.reward_func_names)
            what = error if isinstance(error, RewardError) else f"{names}: {type(error).__name__}: {error}"
            raise RuntimeError(
                f"scoring failed at step {step}: {what}. "
                f"Checkpoints saved so far in {self.args.output_dir} are good to resume from."
            ) from error
        infinite = rewards.isinf().any(dim=0).tolist()
        if any(infinite):
            names = ", ".join(name for name, bad in zip(self.reward_func_names, infinite, strict=True) if bad)
            raise ValueError(f"rewards must be finite, got an infinite one at step {step} from {names}")
        self._scored_rewards = rewards
        return rewards

    def _get_per_token_logps_and_entropies(self, *args: Any, compute_entropy: bool = False, **kwargs: Any) -> Any:
        watch = self._sampling and self._scored_entropies is None
        if watch and self.args.old_logprobs == "sampler":
            logps, self._scored_entropies = self._recorded(*args[1:4])
            return logps, self._scored_entropies, None
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            *args, compute_entropy=compute_entropy or watch, **kwargs
        )
        if watch:
            self._scored_entropies = entropies
        return logps, entropies, aux_loss

    def _recorded(self, input_ids: Tensor, attention_mask: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``[B, kept]`` of the last ``kept`` tokens, as they were sampled."""
        assert self._recorder is not None  # old_logprobs="sampler" is refused where the sampler cannot be watched
        return self._recorder.stacked(input_ids[:, :-kept], input_ids[:, -kept:], attention_mask[:, -kept:])

    def _sample(self, inputs: list[dict[str, Any]]) -> tuple[dict[str, Any], Tensor]:
        """TRL's own output for this rank's rows, with what was seen on the way, and all ranks' rewards ``[B, F]``.

        Added are ``sampled_tokens`` and ``cut`` (``[B]``: how many tokens the policy wrote, and whether the limit cut
        it), and ``entropies`` ``[B, T]`` where there are any.
        """
        self._scored_entropies = self._recorder = self._scored_rewards = None
        self._logs["extra"].clear()  # TRL would keep the columns of earlier rounds beside the rows of this one
        self._sampling = True
        try:
            output = super()._generate_and_score_completions(inputs)
        finally:
            self._sampling = False
        if self._scored_rewards is None:
            raise RuntimeError(
                "TRL did not score the rollouts through _calculate_rewards; see entroshape.engines.trl.seams"
            )
        output |= self._sampled_rows
        entropies = self._entropies(output)
        if entropies is not None:
            output["entropies"] = entropies.detach().float()
        return output, self._scored_rewards

    def _entropies(self, output: dict[str, Any]) -> Tensor | None:
        """``[B, T]`` entropies of the sampling policy for this rank's rows, from the cheapest source that there is."""
        if self._recorder is not None:
            return self._recorder.stacked(output["prompt_ids"], output["completion_ids"], output["completion_mask"])[1]
        if "old_per_token_logps" in output:
            return self._scored_entropies
        if not self.args.credit_method.needs:
            return None
        return self._score(output)[1]

    def _sampled_logprobs(self, output: dict[str, Any]) -> Tensor:
        """``[B, T]`` log-probabilities of the sampling policy for this rank's rows, likewise."""
        if self._recorder is not None:
            return self._recorder.stacked(output["prompt_ids"], output["completion_ids"], output["completion_mask"])[0]
        return self._score(output)[0]

    @torch.no_grad()
    def _score(self, output: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """A pass of its own over this rank's rows: log-probabilities and entropies, both ``[B, T]``."""
        logps, entropies, _ = self._evaluate_tokens(
            self.model, output, batch_size=self.args.per_device_train_batch_size
        )
        return logps, entropies

    def _evaluate_tokens(self, model: Any, inputs: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor, Any]:
        """Log-probabilities and entropies ``[B, T]`` of the completions under ``model``, and its auxiliary loss."""
        return super()._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].size(1),
            compute_entropy=True,
            **{name: inputs.get(name) for name in BESIDE_THE_TOKENS},
            **options,
        )

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


class OptimizerTimer(TrainerCallback):
    """Counts the optimizer's step, which transformers makes outside ``training_step``, as updating."""

    def __init__(self, trainer: WatchedGRPOTrainer) -> None:
        self._trainer = trainer
        self._started = 0.0

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """The optimizer is about to step."""
        self._started = time.perf_counter()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """The optimizer has stepped."""
        self._trainer._seconds["updating"] += time.perf_counter() - self._started
