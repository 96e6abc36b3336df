"""ShapedGRPOTrainer: TRL's GRPOTrainer with the credit of an entroshape method.

The seam is ``_generate_and_score_completions``: there all responses of a step exist and none has been shuffled or
split yet. TRL samples and scores; here entropies are added, one-outcome groups refilled, credit assigned over all
ranks at once, and the advantages handed back for TRL's own loss.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from entroshape.engines.credit_metrics import credit_metrics
from entroshape.engines.trl.averages import OF_RATIOS, OF_TOKENS, TokenMeans
from entroshape.engines.trl.config import ShapedGRPOConfig
from entroshape.engines.trl.guard import NOT_SHAPED, ShapingRan
from entroshape.engines.trl.loss import loss_mask, sequence_surrogate_loss
from entroshape.engines.trl.record import StepRecord
from entroshape.engines.trl.refusals import check_refillable
from entroshape.engines.trl.rows import by_length, can_be_taken, gather_rows, local_slice, take_rows
from entroshape.engines.trl.sampling import SampledBatch, chosen_groups, join_batches, refill_indices
from entroshape.engines.trl.seams import check_seams
from entroshape.engines.trl.watched import PREFIX, WatchedGRPOTrainer
from entroshape.methods import Credit, Method
from entroshape.rollouts import Rollouts

check_seams()


class ShapedGRPOTrainer(WatchedGRPOTrainer):
    """``GRPOTrainer`` with fine-grained credit.

    It takes everything that GRPOTrainer does, plus ``args.method`` and ``args.dynamic_sampling``.

    Args:
        args: a :class:`ShapedGRPOConfig`.
        on_rollouts: called on the main process with the :class:`StepRecord` of every sampled batch.
        **kwargs: everything that ``trl.GRPOTrainer`` takes.

    Raises:
        ValueError: settings that cannot work together, naming them.

    Example:
        >>> from datasets import Dataset                                                # doctest: +SKIP
        >>> trainer = ShapedGRPOTrainer(                                                # doctest: +SKIP
        ...     model="Qwen/Qwen2.5-0.5B", reward_funcs=my_reward, train_dataset=my_prompts,
        ...     args=ShapedGRPOConfig(method="gtpo", num_generations=16))
        >>> trainer.train()                                                             # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: ShapedGRPOConfig | None = None,
        *positional: Any,
        on_rollouts: Callable[[StepRecord], None] | None = None,
        **kwargs: Any,
    ) -> None:
        args = ShapedGRPOConfig("entroshape-output") if args is None else args
        if not isinstance(args, ShapedGRPOConfig):
            raise ValueError(
                f"args must be a ShapedGRPOConfig, got {type(args).__name__}; it takes all of GRPOConfig's settings"
            )
        super().__init__(model, reward_funcs, args, *positional, **kwargs)
        self.method: Method = args.credit_method
        self._on_rollouts = on_rollouts
        self._shaped_losses = 0
        self._token_means = TokenMeans(OF_TOKENS + (OF_RATIOS if self.method.surrogate.ratio == "token" else ()))
        self._moment = (-1, 0)
        if args.dynamic_sampling:
            check_refillable(self)
        self.add_callback(ShapingRan(self))

    # --- credit: where all responses of the step are in sight -------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        started, sampling = time.perf_counter(), self._seconds["sampling"]
        self._count_batch()
        output, per_function = self._sample(inputs)
        if self.args.dynamic_sampling and "num_images" in output:
            raise ValueError("dynamic_sampling does not support prompts with images yet; set dynamic_sampling=False")
        batch = self._gathered(output, per_function)
        rounds = [batch]
        if self.args.dynamic_sampling:
            batch = self._refill(rounds)
            if len(rounds) > 1:
                mine = local_slice(self.accelerator, len(batch.group))
                output = {**output, **take_rows(batch.rows, mine, **self._how_rows_are_taken)}
        self._log_sampled(rounds)
        scored = time.perf_counter() - started - (self._seconds["sampling"] - sampling)
        self._seconds["scoring"] += scored
        with self._timed("shaping"):
            credit = self._credit(batch)
            self._hand_over(output, batch, credit)
        return output

    def _gathered(self, output: dict[str, Any], per_function: Tensor) -> SampledBatch:
        """The batch of all ranks. Without dynamic sampling only what the credit is computed from travels."""
        local = len(output["completion_ids"])
        per_row = {
            name: value
            for name, value in output.items()
            if isinstance(value, Tensor) and value.ndim and len(value) == local
        }
        if "logprobs" in self.method.needs and "old_per_token_logps" not in per_row:
            per_row["sampled_logprobs"] = self._sampled_logprobs(output)
        per_row.pop("advantages", None)
        if not self.args.dynamic_sampling:
            wanted = {"completion_ids", "completion_mask", "tool_mask", "entropies", "sampled_tokens", "cut"}
            wanted |= {"old_per_token_logps", "sampled_logprobs"} if "logprobs" in self.method.needs else set()
            per_row = {name: value for name, value in per_row.items() if name in wanted}
        rows = gather_rows(self.accelerator, per_row, self._tokenizer.pad_token_id)
        total, size = len(rows["completion_ids"]), self.num_generations
        prompts, completions = (list(self._logs[name])[-total:] for name in ("prompt", "completion"))
        alike = all(prompt == prompts[i - i % size] for i, prompt in enumerate(prompts))
        if not alike and self.environment_factories is None:  # an environment may open each rollout in its own way
            raise RuntimeError("TRL no longer lays the responses of a prompt side by side; groups cannot be told apart")
        extra = {name: list(values) for name, values in self._logs["extra"].items()}
        for name, values in extra.items():
            if len(values) != total:
                raise ValueError(
                    f"log_extra({name!r}, ...) must get one value a completion, {total}; got {len(values)}"
                )
        weighted = per_function * self.reward_weights.to(per_function.device)
        rewards = torch.where(per_function.isnan().all(dim=1), torch.nan, weighted.nansum(dim=1))
        return SampledBatch(
            rows=rows,
            rewards=rewards,
            rewards_per_function=per_function,
            group=torch.arange(total, device=per_function.device) // size,
            prompts=prompts,
            completions=completions,
            extra=extra,
        )

    def _refill(self, rounds: list[SampledBatch]) -> SampledBatch:
        """Replaces one-outcome groups by fresh ones, in lockstep on all ranks; rounds are added to ``rounds``."""
        pad, threshold = self._tokenizer.pad_token_id, self.method.success_threshold
        pool = rounds[0]
        wanted = int(pool.group.max()) + 1
        step, nth = self._moment
        while True:
            index, found = chosen_groups(pool.group, pool.informative(threshold), wanted)
            refills = len(rounds) - 1
            if found == wanted or refills == self.args.max_refills:
                break
            indices = refill_indices(
                len(self.train_dataset),
                wanted - found,
                self.num_generations,
                self.accelerator.num_processes,
                wanted,
                key=f"{self.args.seed}/{step}{f'.{nth}' * (nth > 0)}/{len(rounds)}",
            )
            examples = [self.train_dataset[i] for i in indices for _ in range(self.num_generations)]
            mine = examples[local_slice(self.accelerator, len(examples))]
            rounds.append(self._gathered(*self._sample(mine)))
            pool = join_batches([pool, rounds[-1]], pad)
        self._note("refills", refills)
        self._note("unfilled_groups", wanted - found)
        if found < wanted:
            warnings.warn(
                f"after max_refills={refills} refills a step still had groups with one outcome; they get no credit. "
                f"The metric {PREFIX}unfilled_groups counts them. Other prompts, or a larger max_refills, would fill "
                "the batch.",
                stacklevel=2,
            )
        return pool.chosen(index, self.num_generations, **self._how_rows_are_taken) if refills else pool

    def _count_batch(self) -> None:
        """The optimizer step before which a batch is sampled, and which of that step's batches: as on a resume."""
        step, nth = self._moment
        self._moment = (self.state.global_step, nth + 1 if step == self.state.global_step else 0)

    def _credit(self, batch: SampledBatch) -> Credit:
        """The method's credit of all ranks' rows; rows without a reward get none and are compared with nobody."""
        mask = batch.mask
        logprobs = batch.rows.get("old_per_token_logps", batch.rows.get("sampled_logprobs"))
        entropies = batch.rows.get("entropies")
        # Seeded by step, not drawn from the global state: every rank must draw the same.
        generator = torch.Generator().manual_seed(self.args.seed * 1_000_003 + self.state.global_step)
        known = ~batch.rewards.isnan()
        if bool(known.all()):
            rollouts = Rollouts(
                rewards=batch.rewards, entropies=entropies, mask=mask, group=batch.group, logprobs=logprobs
            )
            return self.method.assign(rollouts, generator)
        picked = [None if value is None else value[known] for value in (entropies, logprobs)]
        credit = self.method.assign(
            Rollouts(
                rewards=batch.rewards[known],
                entropies=picked[0],
                mask=mask[known],
                group=batch.group[known],
                logprobs=picked[1],
            ),
            generator,
        )
        return Credit(
            shaped_rewards=_spread(credit.shaped_rewards, known),
            advantages=_spread(credit.advantages, known),
            loss_mask=_spread(credit.loss_mask, known),
            success=_spread(credit.success, known),
            gated=_spread(credit.gated, known) | ~known,
        )

    def _hand_over(self, output: dict[str, Any], batch: SampledBatch, credit: Credit) -> None:
        """Puts the credit where TRL's loss, logs and buffers look for it."""
        mine = local_slice(self.accelerator, len(batch.group))
        width = output["completion_ids"].shape[1]
        advantages = credit.advantages[mine]
        output["advantages"] = advantages[:, :width] if advantages.ndim == 2 else advantages
        if not torch.equal(credit.loss_mask, batch.mask):
            output["tool_mask"] = credit.loss_mask[mine][:, :width].to(output["completion_mask"].dtype)
        output["num_items_in_batch"] = credit.loss_mask.sum()
        output["shaped_by_entroshape"] = torch.ones((), device=advantages.device)
        for name in ("entropies", "sampled_logprobs", "sampled_tokens", "cut"):
            output.pop(name, None)

        record = StepRecord(
            step=self.state.global_step,
            prompts=batch.prompts,
            completions=batch.completions,
            token_ids=batch.rows["completion_ids"],
            mask=batch.mask,
            group=batch.group,
            rewards=batch.rewards,
            entropies=batch.rows.get("entropies"),
            credit=credit,
        )
        figures = credit_metrics(credit, mask=batch.mask, group=batch.group, entropies=record.entropies)
        for name, value in figures.items():
            self._note(name, value)
        self._relog(record, batch)
        if self._on_rollouts is not None and self.accelerator.is_main_process:
            self._on_rollouts(record)

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        buffered = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is buffered or not self.model.training or not self._may_be_sorted(inputs):
            return inputs
        # Boundaries of updates and of generations both lie on multiples of this.
        window = math.gcd(self.args.gradient_accumulation_steps, self.args.steps_per_generation)
        self._buffered_inputs = by_length(self._buffered_inputs, window, **self._how_rows_are_taken)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _may_be_sorted(self, inputs: dict[str, Any]) -> bool:
        """A router's loss and an entropy bonus depend on who shares a micro-batch."""
        return not (self.aux_loss_enabled or self._entropy_bonus_enabled) and can_be_taken(inputs)

    @property
    def _how_rows_are_taken(self) -> dict[str, Any]:
        """Options of :func:`take_rows`: widths as TRL was told, and no other positions than the sampler's."""
        return {"multiple": self.pad_to_multiple_of or 1, "cut_prompts": self.pads_without_effect}

    # --- logs -----------------------------------------------------------------------------------------------------

    def _relog(self, record: StepRecord, batch: SampledBatch) -> None:
        """TRL's table of completions, with the rows that were trained on and their advantages."""
        advantages = record.credit.advantages
        if advantages.ndim == 2:
            advantages = advantages.sum(dim=1) / record.mask.sum(dim=1).clamp(min=1)
        columns = {"prompt": record.prompts, "completion": record.completions, "advantages": advantages.tolist()}
        rewards = dict(zip(self.reward_func_names, batch.rewards_per_function.T.tolist(), strict=True))
        for table, filled in (
            (self._logs, columns),
            (self._logs["rewards"], rewards),
            (self._logs["extra"], batch.extra),
        ):
            for name, values in filled.items():
                table[name].clear()
                table[name].extend(values)

    def _log_sampled(self, rounds: list[SampledBatch]) -> None:
        """Figures over everything that was sampled, kept or not: what the policy does, not what it is trained on."""
        rewards = torch.cat([batch.rewards for batch in rounds])
        tokens = torch.cat([batch.rows["sampled_tokens"] for batch in rounds])
        cut = torch.cat([batch.rows["cut"] for batch in rounds])
        self._note("responses", len(rewards))
        known = ~rewards.isnan()
        if bool(known.any()):
            self._note("reward", rewards[known].mean().item())
            self._note("success_rate", (rewards[known] > self.method.success_threshold).float().mean().item())
        self._note("completion_length", tokens.float().mean().item())
        self._note("share_cut", cut.float().mean().item())
        self._sampled_tokens += int(tokens.sum())

    # --- loss -----------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        if "shaped_by_entroshape" not in inputs:
            raise RuntimeError(NOT_SHAPED)
        self._shaped_losses += 1
        if self.args.arithmetic_ratio:
            loss = sequence_surrogate_loss(self, model, inputs)
        else:
            loss = super()._compute_loss(model, inputs)
        tokens = self.accelerator.reduce(loss_mask(inputs).sum().float(), reduction="sum").item()
        self._token_means.take(self._metrics["train"], tokens, last=self.accelerator.sync_gradients)
        return loss


def _spread(value: Tensor, known: Tensor) -> Tensor:
    """Rows of the known responses among all: zeros (or False) for the others."""
    out = value.new_zeros((len(known), *value.shape[1:]))
    out[known] = value
    return out
