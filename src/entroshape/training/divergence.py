"""Detects diverged training before non-finite weights are saved, and reports it in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.runs import RunDirectory
from entroshape.runs.checkpoints import updates_in

PROBE = 32
"""Number of tokens in the test of a model's logits after training has failed."""


class DivergedError(RuntimeError):
    """Weights, gradients or logits are no longer finite. The message names the step and the last good checkpoint."""

    def __init__(self, run: RunDirectory, step: int, cause: str, steps_of: Callable[[int], int]) -> None:
        checkpoint = run.latest_checkpoint()
        good = (
            f"The last checkpoint with finite weights is that of step {steps_of(updates_in(checkpoint))}, {checkpoint}"
            if checkpoint
            else "There is no checkpoint to return to"
        )
        super().__init__(
            f"training diverged in step {step}: {cause}. {good}. Resuming the run would repeat this: start a new run "
            "with a lower learning_rate or max_grad_norm"
        )


class FiniteWeights(TrainerCallback):
    """Stops the run when an update makes weights non-finite, before they are logged, sampled from or saved.

    Args:
        run: the run; the message names its last checkpoint.
        steps_of: from optimizer updates to whole steps.
    """

    def __init__(self, run: RunDirectory, steps_of: Callable[[int], int]) -> None:
        self._run, self._steps_of = run, steps_of

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Raises ``DivergedError`` if a trained weight is not finite."""
        if not weights_are_finite(model):
            cause = f"weights are not finite after optimizer update {state.global_step}"
            raise DivergedError(self._run, self._steps_of(state.global_step - 1) + 1, cause, self._steps_of)


def weights_are_finite(model: nn.Module) -> bool:
    """Whether all trained weights of this process are finite."""
    weights = [weight.detach() for weight in model.parameters() if weight.requires_grad and weight.numel()]
    return bool(torch.isfinite(get_total_norm(weights, norm_type=math.inf)))


@contextmanager
def divergence_explained(
    trainer: ShapedGRPOTrainer, run: RunDirectory, steps_of: Callable[[int], int]
) -> Iterator[None]:
    """Explains failures of the training inside this context that are due to non-finite logits.

    Huge but finite weights overflow in the forward pass. Sampling then fails with a message about probabilities, or a
    check of entropies fails.
    """
    try:
        yield
    except DivergedError:
        raise
    except Exception as error:
        if gives_numbers(trainer):
            raise
        step = steps_of(trainer.state.global_step) + 1
        cause = f"the model's logits are not finite ({_first_line(error)})"
        raise DivergedError(run, step, cause, steps_of) from error


def gives_numbers(trainer: ShapedGRPOTrainer) -> bool:
    """Whether the model's logits on a few tokens are finite; assumed for a model that is sharded over processes."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return True
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokens = torch.arange(min(PROBE, model.config.get_text_config().vocab_size), device=model.device)
    try:
        with torch.no_grad():
            logits = model(input_ids=tokens[None]).logits
        return not bool(logits.float().log_softmax(dim=-1).isnan().any())
    except RuntimeError:  # a failed device computes nothing; the first error is reported
        return True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
