"""Tasks: prompts and a verifier. Bundled Countdown, reasoning-gym, JSONL files of mathematics, your own Python."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from entroshape.tasks.base import Completion, RewardFunction, Task, completion_text
from entroshape.tasks.countdown import load_countdown
from entroshape.tasks.jsonl import load_jsonl
from entroshape.tasks.python import checked_reward, load_reward, load_user_task
from entroshape.tasks.reasoning_gym import load_reasoning_gym

TASKS: dict[str, str] = {
    "countdown": "reach a target from four numbers; what the bundled tiny model knows",
    "reasoning_gym:<name>": "a data set of reasoning-gym, with options: reasoning_gym:chain_sum?min_terms=2",
    "jsonl:<path>": "problems with answers from a file, compared by math-verify: jsonl:train.jsonl?test=test.jsonl",
    "<module>:<name>": "your own Task, or a function that returns one",
}
"""What :func:`load_task` takes, and what each is."""

COUNTDOWN_TRAIN_SIZE = 10_000
REASONING_GYM_TRAIN_SIZE = 2_000


def load_task(
    spec: str, *, reward: str | None = None, train_size: int | None = None, test_size: int = 256, seed: int = 0
) -> Task:
    """The task that ``spec`` names; :data:`TASKS` lists the forms.

    Args:
        spec: ``"countdown"``, ``"reasoning_gym:<name>"``, ``"jsonl:<path>"`` or ``"<module>:<name>"``.
        reward: ``"<module>:<name>"`` of a function ``f(prompts, completions, **columns) -> list[float]`` that takes
            the place of the task's own verifier.
        train_size: at most so many training problems. ``None``: 10,000 for countdown, 2,000 for reasoning-gym, all that
            there are for files and your own tasks.
        test_size: at most so many held-out problems.
        seed: of the training problems. The test problems are the same for every seed.

    Raises:
        ValueError: an unknown task, with what exists instead; a size below 1; whatever the task's own loader refuses.

    Example:
        >>> task = load_task("countdown", train_size=4, test_size=2)
        >>> task.reward(task.test["prompt"], ["no idea"] * 2, numbers=task.test["numbers"], target=task.test["target"])
        [0.0, 0.0]
    """
    for name, size in (("train_size", train_size), ("test_size", test_size)):
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ValueError(f"{name} must be a positive int; got {size!r}")
    task = _load(spec, train_size, test_size, seed)
    return task if reward is None else replace(task, reward=load_reward(reward))


def _load(spec: str, train_size: int | None, test_size: int, seed: int) -> Task:
    kind, _, rest = spec.partition(":")
    if spec == "countdown":
        return load_countdown(train_size=train_size or COUNTDOWN_TRAIN_SIZE, test_size=test_size, seed=seed)
    if kind == "reasoning_gym" and rest:
        size = train_size or REASONING_GYM_TRAIN_SIZE
        return load_reasoning_gym(rest, train_size=size, test_size=test_size, seed=seed)
    if kind == "jsonl" and rest:
        return load_jsonl(rest, train_size=train_size, test_size=test_size, seed=seed)
    names = {form.partition(":")[0]: form for form in TASKS if not form.startswith("<")}
    close = get_close_matches(kind.lower(), names, n=1, cutoff=0.75)
    if close or not rest:
        hint = f" did you mean {names[close[0]]}?" if close else ""
        forms = "; ".join(f"{form} ({what})" for form, what in TASKS.items())
        raise ValueError(f"unknown task {spec!r}:{hint} There are: {forms}")
    return load_user_task(spec, train_size=train_size, test_size=test_size)


__all__ = [
    "TASKS",
    "Completion",
    "RewardFunction",
    "Task",
    "checked_reward",
    "completion_text",
    "load_reward",
    "load_task",
]
