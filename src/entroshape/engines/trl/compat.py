"""The TRL interfaces that the engine depends on, the settings that it refuses, and a check that its credit was used.

A version of TRL in which a seam has moved is refused with an explanation; it would otherwise silently train plain GRPO.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer, __version__

from entroshape.credit.overlong import GroupRelativeOverlong
from entroshape.engines.full_distribution import ANOTHER_POLICY, NEUTRAL, VLLM_NEUTRAL, reshaping
from entroshape.engines.phases import PhaseClock
from entroshape.engines.seams import check_seam
from entroshape.engines.trl.batch import SampledBatch
from entroshape.methods import Credit, Method

# --- seams ----------------------------------------------------------------------------------------------------------

SUPPORTED = "trl>=1.16,<1.17"

SEAMS: dict[str, tuple[str, ...]] = {
    "_generate_and_score_completions": ("inputs",),
    "_generate": ("prompts",),
    "_generate_single_turn": ("prompt_ids",),
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_get_per_token_logps_and_entropies": (
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
        "compute_aux_loss",
    ),
    "_compute_loss": ("model", "inputs"),
    "_prepare_inputs": ("generation_batch",),
    "training_step": ("model", "inputs", "num_items_in_batch"),
    "log": ("logs", "start_time"),
}
"""Methods of ``GRPOTrainer`` that are overridden or called, and the parameters that we rely on."""

ATTRIBUTES = (
    "_buffered_inputs",
    "_entropy_bonus_enabled",
    "_is_vlm",
    "_logs",
    "_metrics",
    "_step",
    "_tokenizer",
    "aux_loss_enabled",
    "environment_factories",
    "eos_token_ids",
    "generation_config",
    "is_deepspeed_enabled",
    "is_fsdp_enabled",
    "mask_truncated_completions",
    "max_completion_length",
    "num_generations",
    "num_iterations",
    "pad_to_multiple_of",
    "ref_model",
    "reward_func_names",
    "reward_funcs",
    "reward_weights",
    "rollout_func",
    "temperature",
    "tools",
    "use_transformers_continuous_batching",
    "use_vllm",
    "vllm_importance_sampling_correction",
)
"""Attributes of a built ``GRPOTrainer`` that are read or written."""

ATTRIBUTES_IN_TRAINING = ("current_gradient_accumulation_steps", "router_aux_loss_coef")
"""Attributes that exist only during training, or only for models with a router."""

MODEL_INPUTS = (
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
"""Inputs that TRL passes to models with images, in addition to tokens and mask."""

ONLY_IN_TRLS_LOSS = {
    "delta": None,
    "off_policy_mask_threshold": None,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
}
"""Settings of TRL's loss that our loss does not use, with their neutral values."""


def check_seams(trainer: type = GRPOTrainer) -> None:
    """Raises ``ImportError`` if ``trainer`` lacks a seam, or a seam lacks a parameter that we rely on."""
    for name, parameters in SEAMS.items():
        check_seam(
            f"GRPOTrainer.{name}",
            getattr(trainer, name, None),
            parameters,
            host=f"TRL {__version__}",
            supported=SUPPORTED,
        )


def check_attributes(present: Iterable[str]) -> None:
    """Raises ``ImportError`` if an attribute that we rely on is not among those ``present`` on a trainer."""
    missing = sorted(set(ATTRIBUTES) - set(present))
    if missing:
        raise ImportError(
            f"entroshape relies on GRPOTrainer.{missing[0]}, but TRL {__version__} does not have it. "
            f"Supported: {SUPPORTED}. Install a supported version, or upgrade entroshape."
        )


# --- refusals -------------------------------------------------------------------------------------------------------


def check_effect(settings: Mapping[str, Any], method: Method) -> None:
    """Raises ``ValueError`` if one of GRPOConfig's ``settings`` would have no effect with this method."""
    replaced = "the method computes the advantages"
    expected: dict[str, tuple[Any, str]] = {
        "scale_rewards": ("group", replaced),
        "multi_objective_aggregation": ("sum_then_normalize", replaced),
        "top_entropy_quantile": (1.0, "use method='dapo_forking', whose quantile is taken over the whole batch"),
    }
    if method.surrogate.ratio == "sequence_arithmetic":
        own = "GRPO-S with the arithmetic ratio has its own loss"
        expected |= {name: (value, own) for name, value in ONLY_IN_TRLS_LOSS.items()}
        expected["beta"] = (0.0, f"{own} without a KL term")
    if settings["mask_truncated_completions"] and isinstance(method.overlong, GroupRelativeOverlong):
        raise ValueError(
            "mask_truncated_completions=True hides the longest completions from the group-relative overlong "
            "punishment, which needs their lengths; expected False"
        )
    for name, (value, reason) in expected.items():
        given = settings[name]
        if given != value and not (name == "scale_rewards" and given is True):
            raise ValueError(f"{name}={given!r} would have no effect: {reason}; expected {value!r}")


def check_full_distribution(settings: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` if GRPOConfig's ``settings`` would not sample from the policy's full distribution."""
    neutral = VLLM_NEUTRAL if settings["use_vllm"] else NEUTRAL
    for name in ("top_p", "top_k", "min_p", "repetition_penalty"):
        # If top_k is None, transformers uses its own default, 50.
        unset = (None,) if name == "min_p" else ()
        if settings[name] not in (*neutral[name], *unset):
            raise ValueError(f"{name} must be {neutral[name][0]!r}, got {settings[name]!r}: {ANOTHER_POLICY}")
    if names := reshaping(settings["generation_kwargs"] or ()):
        raise ValueError(f"generation_kwargs must not hold {', '.join(names)}: {ANOTHER_POLICY}")
    pattern = settings["vllm_structured_outputs_regex"]
    if pattern is not None:
        raise ValueError(f"vllm_structured_outputs_regex must be None, got {pattern!r}: {ANOTHER_POLICY}")


def check_generation_config(config: Any, overrides: Any) -> None:
    """Raises ``ValueError`` if the model's own ``generation_config`` would change the sampling policy.

    transformers takes from it whatever TRL leaves unset, and models on the hub do set such values.

    Args:
        config: the model's ``generation_config``; ``None`` if it has none.
        overrides: TRL's generation config. Values set there take precedence.
    """
    for name, neutral in NEUTRAL.items():
        value = getattr(config, name, None)
        overridden = getattr(overrides, name, None) is not None
        if value is not None and value not in neutral and not overridden:
            raise ValueError(
                f"the model's generation_config.{name} must be None, got {value!r}: {ANOTHER_POLICY}. "
                f"Set model.generation_config.{name} = None before training"
            )


def check_refillable(dataset: Any, *, environments: bool) -> None:
    """Raises ``ValueError`` if one-outcome groups cannot be refilled from the train dataset."""
    if not hasattr(dataset, "__len__"):
        raise ValueError(
            "dynamic_sampling needs a train_dataset with a length, got an iterable one; set dynamic_sampling=False"
        )
    if {"image", "images"} & set(dataset.column_names) or environments:
        raise ValueError("dynamic_sampling does not support images or environments yet; set dynamic_sampling=False")


# --- data that TRL's loss, logs and buffers read --------------------------------------------------------------------

SHAPED = "shaped_by_entroshape"
"""Key that marks a micro-batch with our advantages."""

NOT_SHAPED = (
    "the advantages of this step were not computed by entroshape: something (a trainer compiler such as Unsloth, or "
    "another patch of GRPOTrainer) replaced the methods that entroshape overrides, so this would be plain GRPO. "
    "Train without it."
)


def hand_over(output: dict[str, Any], batch: SampledBatch, credit: Credit, mine: slice) -> None:
    """Writes this rank's rows of the credit into TRL's output, where TRL's loss reads them.

    Args:
        output: TRL's output; changed in place.
        batch: the batch of all ranks.
        credit: the credit of all ranks.
        mine: this rank's rows.
    """
    own = credit.taken(mine, output["completion_ids"].shape[1])
    # TRL takes [B] and [B, T]: with [B] it logs the share of clipped completions, with [B, T] that of clipped tokens.
    output["advantages"] = own.advantages
    if not torch.equal(credit.loss_mask, batch.mask):
        output["tool_mask"] = own.loss_mask.to(output["completion_mask"].dtype)
    output["num_items_in_batch"] = credit.loss_mask.sum()
    output[SHAPED] = torch.ones((), device=credit.advantages.device)
    for name in ("entropies", "sampled_logprobs", "sampled_tokens", "cut"):
        output.pop(name, None)


def relog(logs: MutableMapping[str, Any], batch: SampledBatch, credit: Credit, reward_names: Sequence[str]) -> None:
    """Fills TRL's table of completions with the rows that were trained on and their mean advantages over tokens."""
    tokens = batch.mask.sum(dim=1).clamp(min=1)
    advantages = credit.per_token(batch.mask).advantages.sum(dim=1) / tokens
    columns: dict[str, Sequence[Any]] = {"prompt": batch.prompts, "completion": batch.completions}
    columns |= {"advantages": advantages.tolist()}
    rewards = dict(zip(reward_names, batch.rewards_per_function.T.tolist(), strict=True))
    tables: tuple[tuple[Any, Mapping[str, Sequence[Any]]], ...] = (
        (logs, columns),
        (logs["rewards"], rewards),
        (logs["extra"], batch.extra),
    )
    for table, filled in tables:
        for name, values in filled.items():
            table[name].clear()
            table[name].extend(values)


def scored(rewards: Tensor | None) -> Tensor:
    """The rewards of a round. Raises ``RuntimeError`` if TRL did not compute them in the method that we override."""
    if rewards is None:
        raise RuntimeError(f"TRL {__version__} did not score the rollouts through GRPOTrainer._calculate_rewards")
    return rewards


def tokens_of(inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor, int]:
    """The arguments of TRL's scoring pass: prompts with completions ``[B, P + T]``, their mask, and ``T``."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    return ids, mask, inputs["completion_ids"].size(1)


def model_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Model inputs other than tokens and mask."""
    return {name: inputs.get(name) for name in MODEL_INPUTS}


class ShapingGuard(TrainerCallback):
    """Stops a run as soon as an optimizer step is made without our advantages in the loss."""

    def __init__(self) -> None:
        self._losses = 0

    def passed(self, inputs: Mapping[str, Tensor]) -> None:
        """Counts a micro-batch that reached the loss; raises ``RuntimeError`` if its advantages are not ours."""
        if SHAPED not in inputs:
            raise RuntimeError(NOT_SHAPED)
        self._losses += 1

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Raises ``RuntimeError`` if no micro-batch of the step went through our loss."""
        if self._losses == 0:
            raise RuntimeError(NOT_SHAPED)
        self._losses = 0


class OptimizerTimer(TrainerCallback):
    """Counts the optimizer step, which transformers makes outside ``training_step``, as updating."""

    def __init__(self, clock: PhaseClock) -> None:
        self._clock, self._started = clock, 0.0

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Starts timing the optimizer step."""
        self._started = time.perf_counter()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Adds the time of the optimizer step."""
        self._clock.seconds["updating"] += time.perf_counter() - self._started
