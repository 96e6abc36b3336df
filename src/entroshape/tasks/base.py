"""Task: training problems, held-out problems, and the reward function that scores completions."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from entroshape.checks import check_integer
from entroshape.tasks.checked import RewardFunction, checked_reward, checked_values, named_failures

if TYPE_CHECKING:
    from datasets import Dataset

Completion = str | Sequence[Mapping[str, Any]]
"""A completion as trainers pass it: plain text, or the messages of a conversation."""


class Verdict(NamedTuple):
    """The reward of a completion, with its final answer."""

    reward: float
    answer: str | None
    """The final answer, normalised so that equal answers are equal strings. ``None``: there is none that could be
    judged."""


VerdictFunction = Callable[..., list[Verdict]]
"""``verdicts(prompts, completions, **columns)``, one verdict per completion."""


@dataclass(frozen=True)
class VerdictReward:
    """The reward function of a task that gives only verdicts, under the name of the function that gives them."""

    verdicts: VerdictFunction

    def __post_init__(self) -> None:
        object.__setattr__(self, "__name__", getattr(self.verdicts, "__name__", "verdicts"))

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float]:
        """The rewards, one per completion."""
        return [verdict.reward for verdict in self.verdicts(prompts, completions, **columns)]


TokenKinds = Callable[[str, Sequence[str]], list[str]]
"""``token_kinds(prompt, tokens)``: the kind of each token of a completion, such as ``"operator"`` or ``"copy"``."""

FirstError = Callable[[str, Sequence[str]], int | None]
"""``first_error(prompt, tokens)``: the index of the first false token of a completion, or ``None``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Problems and a verifier: all that engines need from a task.

    Raises:
        ValueError: there are no test problems, a column is missing, the reward function has no name, or the length is
            not positive.
    """

    name: str
    """The spec from which :func:`entroshape.tasks.load_task` loads it, such as ``"reasoning_gym:chain_sum"``."""

    train: Dataset
    """Training problems with the columns ``id`` (str), ``prompt`` (plain str), and those that the reward function takes
    by name. Empty if the task is only for evaluation."""

    test: Dataset
    """Held-out problems with the same columns. None of them is in ``train``."""

    reward: RewardFunction = None  # type: ignore[assignment] # __post_init__ sets it
    """``reward(prompts, completions, **columns) -> list[float]`` in ``[0, 1]``. Completions are plain strings or
    conversations (``[{"role": "assistant", "content": ...}]``). Every column has one value per completion. If it is not
    given, it is derived from ``verdicts``. Give both if the rewards alone take less work; they must then be equal."""

    max_completion_length: int
    """Default limit of a completion, in tokens."""

    instruction: str | None = None
    """Text for a chat model after the problem, such as how to mark the final answer. ``None``: no text."""

    verdicts: VerdictFunction | None = None
    """Gives the rewards together with the final answers, for majority@n. ``None``: the task has no final answers that
    can be counted."""

    token_kinds: TokenKinds | None = None
    """Gives the kinds of a completion's tokens, to sum entropy, weight and advantage by kind. It is called with the
    prompt as the model reads it, and with the tokens as the tokenizer spells them, including special tokens. It returns
    one short name per token, at most 64 different ones, and must not raise for any tokens. ``None``: the task names no
    kinds."""

    decision_kinds: Collection[str] = ()
    """The kinds at which the policy decides something, to measure how much of the credit falls on them. The other
    tokens follow from these, such as copies. Empty: the task does not say."""

    first_error: FirstError | None = None
    """Gives the index of the first false token of a completion: the first one after which it can no longer be a
    success, or ``None`` if there is none. It is called like ``token_kinds``. ``None``: the task does not say."""

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            rows = getattr(self, split)
            missing = {"id", "prompt"} - set(rows.column_names)
            if missing:
                raise ValueError(f"{split} of task {self.name!r} lacks the column {sorted(missing)[0]!r}")
        if not len(self.test):
            raise ValueError(f"test of task {self.name!r} has no rows")
        if self.verdicts is not None and (self.reward is None or isinstance(self.reward, VerdictReward)):
            object.__setattr__(self, "reward", VerdictReward(self.verdicts))
        if not callable(self.reward) or not hasattr(self.reward, "__name__"):
            raise ValueError(f"reward of task {self.name!r} must be a function with a __name__; got {self.reward!r}")
        check_integer("max_completion_length", self.max_completion_length, minimum=1)
        for name in ("decision_kinds", "first_error"):
            if getattr(self, name) and self.token_kinds is None:
                raise ValueError(f"{name} of task {self.name!r} has no effect without token_kinds")

    def verify(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[Verdict]:
        """Judges completions: the rewards of :attr:`reward`, with the final answers if the task has them.

        Args:
            prompts: one prompt per completion.
            completions: plain strings or conversations.
            columns: the columns of the problems, with one value per completion.

        Raises:
            RewardError: the verifier raised an error; the message names the verifier.
            RewardValueError: the verifier did not return one finite reward per completion.
        """
        name = self.reward.__name__
        if self.verdicts is None:
            rewards = checked_reward(self.reward, name)(prompts, completions, **columns)
            return [Verdict(reward, None) for reward in rewards]
        with named_failures(name):
            verdicts = self.verdicts(prompts, completions, **columns)
        rewards = checked_values([verdict.reward for verdict in verdicts], len(completions), name)
        return [Verdict(reward, verdict.answer) for reward, verdict in zip(rewards, verdicts, strict=True)]


def checked_kinds(kinds: Any, tokens: int) -> list[str]:
    """Checks the result of a task's ``token_kinds`` for ``tokens`` tokens, and returns it as a list.

    Raises:
        ValueError: the result is not one string per token.

    Example:
        >>> checked_kinds(["first", "operator"], 2)
        ['first', 'operator']
    """
    if not isinstance(kinds, list | tuple) or not all(isinstance(kind, str) for kind in kinds) or len(kinds) != tokens:
        got = f"{len(kinds)} values" if isinstance(kinds, list | tuple) else type(kinds).__name__
        raise ValueError(f"token_kinds must return a list of one text per token, {tokens} of them; got {got}")
    return list(kinds)


def checked_first_error(place: Any, tokens: int) -> int | None:
    """Checks the result of a task's ``first_error`` for ``tokens`` tokens, and returns it.

    Raises:
        ValueError: the result is neither ``None`` nor the index of a token.

    Example:
        >>> checked_first_error(1, 2), checked_first_error(None, 2)
        (1, None)
    """
    if place is not None and (type(place) is not int or not 0 <= place < tokens):
        raise ValueError(f"first_error must return None or the index of one of {tokens} tokens; got {place!r}")
    return place


def completion_text(completion: Completion) -> str:
    """The text of a completion: the string itself, or the last assistant message of a conversation.

    Raises:
        ValueError: ``completion`` is neither.

    Example:
        >>> completion_text("4"), completion_text([{"role": "assistant", "content": "4"}])
        ('4', '4')
    """
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, list | tuple) or not all(isinstance(message, Mapping) for message in completion):
        raise ValueError(f"a completion must be a str or a list of messages; got {type(completion).__name__}")
    said = [message.get("content") for message in completion if message.get("role") == "assistant"]
    return _content_text(said[-1]) if said else ""


def _content_text(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(isinstance(part, Mapping) for part in content):
        return "".join(part.get("text", "") for part in content)
    raise ValueError(f"content of a message must be a str or a list of parts; got {type(content).__name__}")


def require_package(name: str) -> None:
    """Checks that the package ``name`` of the ``tasks`` extra is installed, without importing it.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    if importlib.util.find_spec(name) is None:
        raise ImportError(f"this task needs {name}: pip install 'entroshape[tasks]'", name=name)


def optional_module(name: str) -> ModuleType:
    """Imports ``name`` when a task needs it, so that ``import entroshape.tasks`` is fast and works without extras.

    Raises:
        ImportError: see :func:`require_package`.

    Example:
        >>> optional_module("json").__name__
        'json'
    """
    require_package(name.partition(".")[0])
    return importlib.import_module(name)
