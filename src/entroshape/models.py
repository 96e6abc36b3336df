"""Loads models and tokenizers by name, and formats a task's problems as prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from entroshape.assets import BUNDLED_MODELS, bundled_model_path
from entroshape.tasks import Task

BUNDLED = " or ".join(BUNDLED_MODELS)


def resolve_model(name: str) -> str:
    """The path of a bundled or local model, or ``name`` itself for a hub id.

    Raises:
        ValueError: the path does not exist or has no saved model.
    """
    if name in BUNDLED_MODELS:
        return str(bundled_model_path(name))
    path = Path(name).expanduser()
    if path.is_dir():
        if not any((path / file).is_file() for file in ("config.json", "adapter_config.json")):
            raise ValueError(f"model: {path} holds neither config.json nor adapter_config.json; expected a saved model")
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ValueError(
            f"model: directory {path} does not exist; expected a local model, a hub id, or {BUNDLED} (bundled)"
        )
    return name


def load_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a causal language model in float32, and its tokenizer.

    Raises:
        ValueError: the model is neither a local model nor on the hub, one of its files is damaged, weights are missing,
            or weights are not finite.
    """
    tokenizer = load_tokenizer(name)
    with readable(name):
        _check_generation_config(Path(resolve_model(name)) / "generation_config.json")
        model, loaded = AutoModelForCausalLM.from_pretrained(
            resolve_model(name), dtype=torch.float32, output_loading_info=True
        )
    if missing := sorted(loaded["missing_keys"]):
        raise ValueError(f"model {name!r} lacks {len(missing)} weights, such as {missing[0]!r}")
    broken = next((key for key, weight in model.named_parameters() if not weight.isfinite().all()), None)
    if broken is not None:
        raise ValueError(f"model {name!r} has non-finite weights, first in {broken!r}")
    return model, tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a model, without the model.

    Raises:
        ValueError: the model is neither a local model nor on the hub, or one of its files is damaged.
    """
    path = resolve_model(name)
    with readable(name):
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _check_generation_config(file: Path) -> None:
    """Refuses a damaged file, which transformers takes for none."""
    if file.exists() and not isinstance(json.loads(file.read_text(encoding="utf-8")), dict):
        raise ValueError(f"{file.name} must hold an object")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Names the model in errors that are raised while it is read."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, ImportError):
        raise
    except Exception as error:
        # Each library raises its own errors for a damaged file: SafetensorError, KeyError, AttributeError, ...
        if isinstance(error, OSError) and not Path(name).expanduser().is_dir():
            raise ValueError(
                f"model {name!r} was not found: expected a hub id, a local directory, or {BUNDLED} (bundled). {error}"
            ) from error
        raise ValueError(
            f"model {name!r} cannot be read: one of its files is damaged or has another format "
            f"({type(error).__name__}: {error})"
        ) from error


def formatted_prompt(prompt: str, task: Task, tokenizer: PreTrainedTokenizerBase) -> str | list[dict[str, str]]:
    """Formats a problem as a prompt: a conversation if the tokenizer has a chat template, otherwise plain text.

    The task's instruction (how to mark the final answer) follows the problem.
    """
    text = f"{prompt}\n\n{task.instruction}" if task.instruction else prompt
    return [{"role": "user", "content": text}] if tokenizer.chat_template else text


def training_prompts(task: Task, tokenizer: PreTrainedTokenizerBase, rows: int, seed: int) -> Dataset:
    """Draws the order of a run's training prompts: at least ``rows``, as whole passes, each shuffled separately.

    The trainer makes a single pass over them, so a resumed run finds its place by counting. A longer run only adds
    passes, so its first steps see the same prompts as those of a shorter run.
    """
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    while len(order) < rows:
        order += torch.randperm(len(task.train), generator=generator).tolist()
    prompts = task.train.select(order)
    return prompts.map(lambda row: {"prompt": formatted_prompt(row["prompt"], task, tokenizer)})


def check_readable(task: Task, model: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ``ValueError`` if the model's tokenizer has no tokens for the task's prompts."""
    prompt = formatted_prompt(task.train[0]["prompt"], task, tokenizer)
    try:
        tokenizer(prompt_text(prompt))
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise ValueError(
            f"model {model!r} cannot read the prompts of task {task.name!r} ({error}); choose another model"
        ) from error


def prompt_text(prompt: Any) -> str:
    """The text of a prompt, whether it is a conversation or plain text."""
    return prompt if isinstance(prompt, str) else "\n".join(str(message["content"]) for message in prompt)
