"""ShapedGRPOTrainer: TRL's GRPOTrainer with the credit of an entroshape method.

The seam is ``_generate_and_score_completions``. At that point all completions of a step exist, and none has been
shuffled or split. TRL samples and scores; this class adds entropies, refills one-outcome groups, assigns the credit
over all ranks at once, and hands the advantages back for TRL's own loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from entroshape.engines.assignment import assign_known, credit_generator, credit_seed
from entroshape.engines.credit_metrics import credit_metrics
from entroshape.engines.decisions import PREFIX
from entroshape.engines.dynamic_sampling import refill_indices
from entroshape.engines.phases import PhaseClock
from entroshape.engines.rewards import check_finite, guarded_reward, naming_step
from entroshape.engines.step_record import StepRecord
from entroshape.engines.trl import batch as batches
from entroshape.engines.trl import compat, memory, sampler, speed
from entroshape.engines.trl import loss as losses
from entroshape.engines.trl.config import ShapedGRPOConfig
from entroshape.engines.trl.sampling import SamplingTrainer
from entroshape.methods import Credit, Method

compat.check_seams()


class ShapedGRPOTrainer(SamplingTrainer):
    """``GRPOTrainer`` with the credit of an entroshape method.

    Args:
        args: a :class:`ShapedGRPOConfig`: GRPOConfig's settings, the method, and dynamic sampling.
        on_rollouts: called on the main process with the :class:`StepRecord` of every sampled batch. May return metrics.
        **kwargs: all other arguments of ``trl.GRPOTrainer``.

    Raises:
        ValueError: settings do not work together; the message names them.

    Example:
        >>> trainer = ShapedGRPOTrainer(                                                # doctest: +SKIP
        ...     model="Qwen/Qwen2.5-0.5B", reward_funcs=my_reward, train_dataset=my_prompts,
        ...     args=ShapedGRPOConfig(method="gtpo", num_generations=16))
        >>> trainer.train()                                                             # doctest: +SKIP
    """

    _buffered_inputs: Any  # TRL's: the micro-batches of the last generation

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: ShapedGRPOConfig | None = None,
        *positional: Any,
        on_rollouts: Callable[[StepRecord], Mapping[str, float] | None] | None = None,
        **kwargs: Any,
    ) -> None:
        args = args or ShapedGRPOConfig("entroshape-output")
        if not isinstance(args, ShapedGRPOConfig):
            raise ValueError(
                f"args must be a ShapedGRPOConfig, got {type(args).__name__}; it takes all of GRPOConfig's settings"
            )
        super().__init__(model, reward_funcs, args, *positional, **kwargs)
        compat.check_attributes(dir(self))
        self.method: Method = args.credit_method
        self.reward_funcs: list[Any] = list(map(guarded_reward, self.reward_funcs, self.reward_func_names))
        self._on_rollouts = on_rollouts
        self._clock, self._sampled_tokens = PhaseClock(), 0
        self._sources = self._choose_sampling()
        if args.dynamic_sampling:
            compat.check_refillable(self.train_dataset, environments=self.environment_factories is not None)
        self._speed_up(args)
        self._guard = compat.ShapingGuard()
        self.add_callback(self._guard)
        self.add_callback(compat.OptimizerTimer(self._clock))

    def _speed_up(self, args: ShapedGRPOConfig) -> None:
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        reference = self.ref_model and self.accelerator.unwrap_model(self.ref_model)
        pads_freely = not (sharded or self._is_vlm) and speed.count_positions(self._sampled_model, reference)
        self._taking: dict[str, Any] = {"multiple": self.pad_to_multiple_of or 1, "cut_prompts": pads_freely}
        if not (sharded or self._entropy_bonus_enabled or args.cast_lm_head_to_fp32):
            speed.tile_head(self._sampled_model, self.temperature)
        ratios = speed.RATIO_FIGURES if self.method.surrogate.ratio == "token" else ()
        self._token_means = speed.TokenMeans(speed.TOKEN_FIGURES + ratios)

    # --- one round: TRL samples and scores while a recorder observes it ----------------------------------------------

    def _sample(self, inputs: list[dict[str, Any]], number: int = 0) -> tuple[dict[str, Any], Tensor]:
        """TRL's output for this rank's rows of the step's round ``number``, and all ranks' rewards ``[B, F]``.

        The output also holds the results of :func:`sampler.sampled_lengths` and :func:`sampler.measured`.
        """
        self._logs["extra"].clear()  # TRL would keep the columns of earlier rounds beside the rows of this one
        self._round = seen = sampler.Observed(number=number, records=self._sources.recorded)
        try:
            output = super()._generate_and_score_completions(inputs)
        finally:
            self._round = None
        output |= seen.rows
        output |= sampler.measured(output, seen, self.method.needs, self._score)
        return output, compat.scored(seen.rewards)

    def _generate(self, prompts: list) -> Any:
        seen = self._round
        if seen is None:
            return super()._generate(prompts)
        hook = self._sources.recorded and self.sampling != "own"
        watch = sampler.SamplerRecorder(self._sampled_model, self.temperature) if hook else None
        with self._clock.timed("sampling"), watch or nullcontext() as seen.recorder:
            sampled = super()._generate(prompts)
        _, completion_ids, tool_mask, *_ = sampled
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        seen.rows = sampler.sampled_lengths(completion_ids, tool_mask, ends, self.accelerator.device)
        return sampled

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        with naming_step(self._steps_begun, self.reward_func_names, self.args.output_dir):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        check_finite(rewards, self.reward_func_names, self._steps_begun)
        if self._round is not None:
            self._round.rewards = rewards
        return rewards

    def _get_per_token_logps_and_entropies(self, *args: Any, compute_entropy: bool = False, **kwargs: Any) -> Any:
        seen = self._round if self._round is not None and self._round.entropies is None else None
        if seen is not None and seen.recorder is not None and self._sources.recorded_old_logprobs:
            ids, mask, kept = args[1:4]
            logps, seen.entropies = seen.recorder.stacked(ids[:, :-kept], ids[:, -kept:], mask[:, -kept:])
            return logps, seen.entropies, None
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            *args, compute_entropy=compute_entropy or seen is not None, **kwargs
        )
        if seen is not None:
            seen.entropies = entropies
        return logps, entropies, aux_loss

    @torch.no_grad()
    def _score(self, output: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of this rank's rows, both ``[B, T]``, from a separate pass."""
        return self._evaluate_tokens(self.model, output, batch_size=self.args.per_device_train_batch_size)[:2]

    def _evaluate_tokens(self, model: Any, inputs: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor, Any]:
        """Log-probabilities and entropies ``[B, T]`` of the completions under ``model``, and its auxiliary loss."""
        return super()._get_per_token_logps_and_entropies(
            model, *compat.tokens_of(inputs), compute_entropy=True, **compat.model_inputs(inputs), **options
        )

    # --- credit, from all completions of the step -------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        update, nth = self._moment
        self._moment = (self.state.global_step, nth + 1 if update == self.state.global_step else 0)
        with self._clock.timed("scoring"):
            output, per_function = self._sample(inputs)
            batch = self._gathered(output, per_function)
            rounds = [batch]
            if self.args.dynamic_sampling:
                rounds, batch, output = self._refilled(batch, output)
            figures = batches.sampling_figures(rounds, self.method)
            self._sampled_tokens += round(figures["responses"] * figures["completion_length"])
            self._note(figures)
        with self._clock.timed("shaping"):
            self._shape(output, batch)
        return output

    @property
    def _steps_begun(self) -> int:
        """Batches sampled so far, including this one; derived from the trainer's state, so that a resume agrees."""
        update, nth = self._moment
        micro_batches = update * self.args.gradient_accumulation_steps
        return math.ceil(micro_batches / (self.args.steps_per_generation * self.num_iterations)) + nth + 1

    def _gathered(self, output: dict[str, Any], per_function: Tensor) -> batches.SampledBatch:
        """The batch of all ranks. Without dynamic sampling, only what the credit needs is gathered."""
        rows = batches.rows_to_gather(output, self.method.needs, every=bool(self.args.dynamic_sampling))
        rows = batches.gather_rows(self.accelerator, rows, self._tokenizer.pad_token_id)
        total = len(rows["completion_ids"])
        return batches.sampled_batch(
            rows,
            per_function,
            self.reward_weights,
            self.num_generations,
            prompts=list(self._logs["prompt"])[-total:],
            completions=list(self._logs["completion"])[-total:],
            extra={name: list(values) for name, values in self._logs["extra"].items()},
            prompts_may_differ=self.environment_factories is not None,
        )

    def _refilled(self, batch: batches.SampledBatch, output: dict[str, Any]) -> tuple[list, Any, dict[str, Any]]:
        """All rounds, the batch with its one-outcome groups replaced, and TRL's output with this rank's rows of it."""
        if "num_images" in output:
            raise ValueError("dynamic_sampling does not support prompts with images yet; set dynamic_sampling=False")
        size, (update, nth), wanted = self.num_generations, self._moment, int(batch.group.max()) + 1

        def sample(missing: int, number: int) -> batches.SampledBatch:
            key = f"{self.args.seed}/{update}{f'.{nth}' * (nth > 0)}/{number}"
            ranks = self.accelerator.num_processes
            indices = refill_indices(len(self.train_dataset), missing, size, ranks, wanted, key)
            examples = [self.train_dataset[i] for i in indices for _ in range(size)]
            mine = examples[batches.local_slice(self.accelerator, len(examples))]
            return self._gathered(*self._sample(mine, number))

        options = {"max_refills": self.args.max_refills, "pad_token_id": self._tokenizer.pad_token_id, **self._taking}
        rounds, batch, unfilled = batches.refilled(batch, sample, self.method, group_size=size, **options)
        self._note({"refills": len(rounds) - 1, "unfilled_groups": unfilled})
        if len(rounds) > 1:
            mine = batches.local_slice(self.accelerator, len(batch.group))
            output = {**output, **batches.take_rows(batch.rows, mine, **self._taking)}
        return rounds, batch, output

    def _shape(self, output: dict[str, Any], batch: batches.SampledBatch) -> None:
        """Assigns the credit to the rows of all ranks, hands this rank's share to TRL, and logs it."""
        update, entropies = self.state.global_step, batch.rows.get("entropies")
        credit = self._credit(batch, credit_generator(credit_seed(self.args.seed, update)))
        compat.hand_over(output, batch, credit, batches.local_slice(self.accelerator, len(batch.group)))
        self._note(credit_metrics(credit, mask=batch.mask, group=batch.group, entropies=entropies))
        compat.relog(self._logs, batch, credit, self.reward_func_names)
        if self._on_rollouts is not None and self.accelerator.is_main_process:
            self._note(self._on_rollouts(batch.record(credit, step=self._steps_begun, update=update)) or {})

    def _credit(self, batch: batches.SampledBatch, generator: torch.Generator) -> Credit:
        """The credit of the rows of all ranks. The state of a stateful method is kept and logged."""
        before = memory.state_before(self.method, self.state)
        credit, after = assign_known(self.method, before, generator=generator, **batch.credit_inputs)  # type: ignore
        kept = memory.keep_state(self.method, self.state, after)
        self._note({f"state_{name}": value for name, value in kept.items()})
        return credit

    def _note(self, figures: Mapping[str, float], prefix: str = PREFIX) -> None:
        for name, value in figures.items():
            self._metrics["train"][prefix + name].append(float(value))

    # --- updates ----------------------------------------------------------------------------------------------------

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        buffered = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        # A router's loss and an entropy bonus depend on which rows share a micro-batch.
        bound = self.aux_loss_enabled or self._entropy_bonus_enabled or not speed.can_be_taken(inputs)
        if self._buffered_inputs is buffered or not self.model.training or bound:
            return inputs
        # Updates and generations both begin at multiples of this.
        window = math.gcd(self.args.gradient_accumulation_steps, self.args.steps_per_generation)
        self._buffered_inputs = speed.by_length(self._buffered_inputs, window, **self._taking)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        self._guard.passed(inputs)
        loss = (self._sequence_loss if self.args.arithmetic_ratio else super()._compute_loss)(model, inputs)
        tokens = self.accelerator.reduce(losses.loss_mask(inputs).sum().float(), reduction="sum").item()
        self._token_means.take(self._metrics["train"], tokens, last=self.accelerator.sync_gradients)
        return loss

    def _sequence_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        weight = self.router_aux_loss_coef if self.aux_loss_enabled else None
        found = self._evaluate_tokens(model, inputs, compute_aux_loss=self.aux_loss_enabled)
        reduce = partial(self.accelerator.reduce, reduction="sum")
        loss, metrics = losses.sequence_loss(
            self.method.surrogate, *found, inputs, aux_weight=weight, gather=self.accelerator.gather, add_up=reduce
        )
        self._note(metrics, prefix="")
        return loss / self.current_gradient_accumulation_steps

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch, as in TRL. Time that is not sampling, scoring or shaping counts as updating."""
        with self._clock.timed("updating"):
            return super().training_step(*args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As in TRL, and adds the seconds per phase since the last log and the sampled tokens per second."""
        if self.model.training and self._clock.seconds:
            total = max(self._clock.total, 1e-9)
            self._note({f"seconds_{phase}": spent for phase, spent in self._clock.read().items()})
            self._note({"tokens_per_second": self._sampled_tokens / total})
            self._sampled_tokens = 0
        super().log(logs, start_time)
