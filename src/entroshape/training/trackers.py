"""Makes TensorBoard write into the run directory."""

from __future__ import annotations

from pathlib import Path

from transformers import Trainer
from transformers.integrations import TensorBoardCallback

from entroshape.runs import RunDirectory
from entroshape.runs.checkpoints import updates_in


def keep_tensorboard(trainer: Trainer, run: RunDirectory, checkpoint: Path | None) -> None:
    """Makes TensorBoard write to ``<run>/tensorboard``, if the trainer reports to it. Call it on the main process.

    ``TENSORBOARD_LOGGING_DIR``, transformers' own setting, takes precedence.

    Args:
        trainer: the trainer, before its training starts.
        run: the run that is logged.
        checkpoint: the checkpoint that the run resumes from, if any. Entries after it are removed, because those
            updates are repeated.
    """
    again = updates_in(checkpoint) + 1 if checkpoint else None
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            callback.logging_dir = callback.logging_dir or str(run.path / "tensorboard")
            callback.tb_writer = callback._SummaryWriter(log_dir=callback.logging_dir, purge_step=again)
