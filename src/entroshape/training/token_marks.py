"""What a task says about the tokens of a step's completions: their kinds, the decisions, the first false token."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerBase

from entroshape.engines.kind_metrics import TokenMarks
from entroshape.engines.step_record import StepRecord
from entroshape.models import prompt_text
from entroshape.tasks import Task
from entroshape.tasks.base import checked_first_error, checked_kinds

MAX_KINDS = 64
"""Maximum number of kinds: every kind has its own metrics in every step."""


def token_marks(record: StepRecord, task: Task, tokenizer: PreTrainedTokenizerBase) -> TokenMarks | None:
    """The marks of all completions with a reward; ``None`` if the task names no kinds.

    Raises:
        ValueError: a function of the task returned something else than it should, or more than 64 different kinds.
    """
    if task.token_kinds is None:
        return None
    names: dict[str, int] = {}
    kinds = torch.full(record.mask.shape, -1)
    errors = torch.zeros(record.mask.shape, dtype=torch.bool)
    for row, live in enumerate(record.mask.cpu()):
        if record.rewards[row].isnan():
            continue
        places = live.nonzero()[:, 0]
        prompt = prompt_text(record.prompts[row])
        tokens = tokenizer.convert_ids_to_tokens(record.token_ids[row].cpu()[places].tolist())
        own = checked_kinds(task.token_kinds(prompt, tokens), len(tokens))
        kinds[row, places] = torch.tensor([names.setdefault(kind, len(names)) for kind in own], dtype=torch.int64)
        if task.first_error is not None:
            error = checked_first_error(task.first_error(prompt, tokens), len(tokens))
            if error is not None:
                errors[row, places[error]] = True
    if len(names) > MAX_KINDS:
        raise ValueError(f"token_kinds must name at most {MAX_KINDS} kinds; got {len(names)} in step {record.step}")
    kinds, errors = kinds.to(record.mask.device), errors.to(record.mask.device)
    decisions = [names[kind] for kind in sorted(task.decision_kinds) if kind in names]
    return TokenMarks(
        names=list(names),
        kinds=kinds,
        decisions=torch.isin(kinds, kinds.new_tensor(decisions)) if task.decision_kinds else None,
        first_errors=errors if task.first_error is not None else None,
    )
