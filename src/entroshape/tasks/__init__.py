"""Tasks, prompts with a verifier: Countdown, reasoning-gym, mathematics from the hub or a file, or your own."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from entroshape.checks import check_integer
from entroshape.tasks.base import (
    Completion,
    FirstError,
    RewardFunction,
    Task,
    TokenKinds,
    Verdict,
    VerdictFunction,
    completion_text,
)
from entroshape.tasks.benchmarks import BENCHMARKS, TRAINABLE, load_benchmark
from entroshape.tasks.checked import checked_reward
from entroshape.tasks.countdown import load_countdown
from entroshape.tasks.countdown_search_problems import load_countdown_search
from entroshape.tasks.jsonl import load_jsonl
from entroshape.tasks.python import load_reward, load_user_task
from entroshape.tasks.reasoning_gym import load_reasoning_gym
from entroshape.tasks.spec import TaskSpec, parse_spec

TASKS: dict[str, str] = {
    "countdown": "reach a target from four numbers; the bundled tiny model knows this task",
    "countdown_search": "the same with search and backtracking, in long chains; ?level=easy, middle or hard",
    "reasoning_gym:<name>": "a data set of reasoning-gym, with options: reasoning_gym:chain_sum?min_terms=2",
    "math:<name>": f"{', '.join(BENCHMARKS)} from the hub, or from a local copy of its repository: ?from=DIR",
    "jsonl:<path>": "problems with reference answers from a file, judged by math-verify; ?test=test.jsonl",
    "<module>:<name>": "your own Task, or a function that returns one",
}
"""The forms of task that :func:`load_task` accepts, with a description of each."""

COUNTDOWN_TRAIN_SIZE = 10_000
REASONING_GYM_TRAIN_SIZE = 2_000
GENERATED_TEST_SIZE = 256


def load_task(
    spec: str,
    *,
    reward: str | None = None,
    train_size: int | None = None,
    test_size: int | None = 256,
    seed: int = 0,
    training: bool = True,
    fresh: int | None = None,
) -> Task:
    """Loads the task that ``spec`` names; :data:`TASKS` lists the forms.

    Args:
        spec: ``"countdown"``, ``"reasoning_gym:<name>"``, ``"math:<name>"``, ``"jsonl:<path>"`` or
            ``"<module>:<name>"``.
        reward: ``"<module>:<name>"`` of a function ``f(prompts, completions, **columns) -> list[float]`` that replaces
            the task's verifier. The task then has no final answers for majority@n.
        train_size: maximum number of training problems. ``None``: 10,000 for countdown, 2,000 for reasoning-gym, all
            problems for files and your own tasks.
        test_size: maximum number of held-out problems. ``None``: 256 if the task generates its problems or holds out
            part of a file, otherwise all.
        seed: random seed for the training problems. The test problems are the same for every seed.
        training: whether training problems are required. Otherwise those of a benchmark are not loaded.
        fresh: replaces the held-out problems with this many others, which are neither held out nor among the training
            problems of this ``seed`` and ``train_size``. Only for tasks that make their problems.

    Raises:
        ValueError: the task is unknown (the message lists the known ones), a size is below 1, training problems are
            required but missing, the task has no fresh problems, or the task's loader refuses its options.

    Example:
        >>> task = load_task("countdown", train_size=4, test_size=2)
        >>> task.reward(task.test["prompt"], ["no idea"] * 2, numbers=task.test["numbers"], target=task.test["target"])
        [0.0, 0.0]
    """
    for name, size in (("train_size", train_size), ("test_size", test_size), ("fresh", fresh)):
        if size is not None:
            check_integer(name, size, minimum=1)
    task = _load(parse_spec(spec), train_size, test_size, seed, training, fresh)
    if training and not len(task.train):
        raise ValueError(
            f"task {spec!r} has only test problems: you can evaluate on it but not train. To train, use your own "
            f"problems with jsonl:<path>?test=<path>, or {' or '.join(TRAINABLE)}"
        )
    return task if reward is None else replace(task, reward=load_reward(reward), verdicts=None)


def _load(
    spec: TaskSpec, train_size: int | None, test_size: int | None, seed: int, training: bool, fresh: int | None
) -> Task:
    generated = test_size or GENERATED_TEST_SIZE
    if spec.text == "countdown":
        size = train_size or COUNTDOWN_TRAIN_SIZE
        return load_countdown(train_size=size, test_size=generated, seed=seed, fresh=fresh)
    if spec.kind == "countdown_search" and not spec.name:
        size = train_size or COUNTDOWN_TRAIN_SIZE
        return load_countdown_search(spec, train_size=size, test_size=generated, seed=seed, fresh=fresh)
    if spec.kind == "reasoning_gym" and spec.name:
        size = train_size or REASONING_GYM_TRAIN_SIZE
        return load_reasoning_gym(spec, train_size=size, test_size=generated, seed=seed, fresh=fresh)
    if fresh is not None:
        raise ValueError(
            f"fresh problems exist only for tasks that make their problems (countdown, countdown_search, "
            f"reasoning_gym:<name>); {spec.text!r} has a fixed set"
        )
    if spec.kind == "math" and spec.name in BENCHMARKS:
        return load_benchmark(spec, train_size=train_size, test_size=test_size, seed=seed, training=training)
    if spec.kind == "jsonl" and spec.name:
        return load_jsonl(spec, train_size=train_size, test_size=test_size, seed=seed)
    hint = _hint(spec)
    if hint or not spec.name:
        forms = "; ".join(f"{form} ({what})" for form, what in TASKS.items())
        raise ValueError(f"unknown task {spec.text!r}:{f' did you mean {hint}?' if hint else ''} Available: {forms}")
    return load_user_task(spec.text, train_size=train_size, test_size=test_size)


def _hint(spec: TaskSpec) -> str | None:
    """The task that a misspelt spec probably means; ``None`` if it may be the user's own."""
    if spec.kind.lower() == "math" or not spec.name:
        close = get_close_matches((spec.name or spec.kind).lower(), BENCHMARKS, n=1, cutoff=0.75)
        if close:
            return f"math:{close[0]}"
    forms = {form.partition(":")[0]: form for form in TASKS if not form.startswith("<")}
    close = get_close_matches(spec.kind.lower(), forms, n=1, cutoff=0.75)
    return forms[close[0]] if close else None


__all__ = [
    "TASKS",
    "Completion",
    "FirstError",
    "RewardFunction",
    "Task",
    "TokenKinds",
    "Verdict",
    "VerdictFunction",
    "checked_reward",
    "completion_text",
    "load_reward",
    "load_task",
]
