"""What the callbacks need to know of a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, DistributedType
from accelerate.utils import extract_model_from_parallel
from torch import nn
from transformers import TrainerState, TrainingArguments


def unwrapped(model: Any) -> nn.Module:
    """The model without the wrappers of several processes and of compilation, which change the names of weights."""
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    return model


def checkpoint_of(args: TrainingArguments, state: TrainerState, resume_from: str | Path | None = None) -> Path:
    """The checkpoint at the current update, or ``resume_from`` if given."""
    return Path(resume_from or Path(args.output_dir) / f"checkpoint-{state.global_step}")


def check_whole(what: str) -> None:
    """Refuses models that are sharded over processes.

    Raises:
        ValueError: FSDP or DeepSpeed is in use; the message begins with ``what``.
    """
    kind = AcceleratorState().distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ValueError(f"{what} needs whole weights on every process; got a model that {kind.value} shards")
