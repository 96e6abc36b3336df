"""The check that our shaping really ran: a run whose methods were replaced stops, instead of training plain GRPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from entroshape.engines.trl.trainer import ShapedGRPOTrainer

NOT_SHAPED = (
    "the advantages of this step were not computed by entroshape: something (a compiler of trainers such as "
    "Unsloth, or another patch of GRPOTrainer) replaced the methods that it overrides, so this would be plain GRPO. "
    "Train without it."
)


class ShapingRan(TrainerCallback):
    """Refuses to go on when an optimizer step was made without our loss."""

    def __init__(self, trainer: ShapedGRPOTrainer) -> None:
        self._trainer = trainer

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Raises ``RuntimeError`` if no micro-batch of the step went through our loss with our advantages."""
        if self._trainer._shaped_losses == 0:
            raise RuntimeError(NOT_SHAPED)
        self._trainer._shaped_losses = 0
