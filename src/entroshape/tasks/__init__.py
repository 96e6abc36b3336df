"""Tasks: prompts and a verifier. Bundled Countdown, reasoning-gym, mathematics from the hub or a file, your own."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from entroshape.checks import check_integer
from entroshape.tasks.base import (
    Completion,
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
    "countdown": "reach a target from four numbers; what the bundled tiny model knows",
    "countdown_search": "the same by trial and backtracking: long chains; countdown_search?level=easy, middle or hard",
    "reasoning_gym:<name>": "a data set of reasoning-gym, with options: reasoning_gym:chain_sum?min_terms=2",
    "math:<name>": f"{', '.join(BENCHMARKS)} from the hub, or from a copy of its repository: math:aime24?from=DIR",
    "jsonl:<path>": "problems with answers from a file, compared by math-verify: jsonl:train.jsonl?test=test.jsonl",
    "<module>:<name>": "your own Task, or a function that returns one",
}
"""What :func:`load_task` takes, and what each is."""

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
) -> Task:
    """The task that ``spec`` names; :data:`TASKS` lists the forms.

    Args:
        spec: ``"countdown"``, ``"reasoning_gym:<name>"``, ``"math:<name>"``, ``"jsonl:<path>"`` or
            ``"<module>:<name>"``.
        reward: ``"<module>:<name>"`` of a function ``f(prompts, completions, **columns) -> list[float]`` that takes
            the place of the task's own verifier; the task then knows no final answers to vote with.
        train_size: at most so many training problems. ``None``: 10,000 for countdown, 2,000 for reasoning-gym, all that
            there are for files and your own tasks.
        test_size: at most so many held-out problems. ``None``: 256 of a task that makes its problems and of a file
            whose tenth is held out; all of the others.
        seed: of the training problems. The test problems are the same for every seed.
        training: whether there must be training problems. Without, a benchmark's need not be loaded.

    Raises:
        ValueError: an unknown task, with what exists instead; a size below 1; no training problems, where there must
            be; whatever the task's own loader refuses.

    Example:
        >>> task = load_task("countdown", train_size=4, test_size=2)
        >>> task.reward(task.test["prompt"], ["no idea"] * 2, numbers=task.test["numbers"], target=task.test["target"])
        [0.0, 0.0]
    """
    for name, size in (("train_size", train_size), ("test_size", test_size)):
        if size is not None:
            check_integer(name, size, minimum=1)
    task = _load(parse_spec(spec), train_size, test_size, seed, training)
    if training and not len(task.train):
        raise ValueError(
            f"task {spec!r} has test problems alone and can be evaluated, not trained on; train on problems of your "
            f"own with jsonl:<path>?test=<path>, or on {' or '.join(TRAINABLE)}"
        )
    return task if reward is None else replace(task, reward=load_reward(reward), verdicts=None)


def _load(spec: TaskSpec, train_size: int | None, test_size: int | None, seed: int, training: bool) -> Task:
    generated = test_size or GENERATED_TEST_SIZE
    if spec.text == "countdown":
        return load_countdown(train_size=train_size or COUNTDOWN_TRAIN_SIZE, test_size=generated, seed=seed)
    if spec.kind == "countdown_search" and not spec.name:
        size = train_size or COUNTDOWN_TRAIN_SIZE
        return load_countdown_search(spec, train_size=size, test_size=generated, seed=seed)
    if spec.kind == "reasoning_gym" and spec.name:
        size = train_size or REASONING_GYM_TRAIN_SIZE
        return load_reasoning_gym(spec, train_size=size, test_size=generated, seed=seed)
    if spec.kind == "math" and spec.name in BENCHMARKS:
        return load_benchmark(spec, train_size=train_size, test_size=test_size, seed=seed, training=training)
    if spec.kind == "jsonl" and spec.name:
        return load_jsonl(spec, train_size=train_size, test_size=test_size, seed=seed)
    hint = _hint(spec)
    if hint or not spec.name:
        forms = "; ".join(f"{form} ({what})" for form, what in TASKS.items())
        raise ValueError(f"unknown task {spec.text!r}:{f' did you mean {hint}?' if hint else ''} There are: {forms}")
    return load_user_task(spec.text, train_size=train_size, test_size=test_size)


def _hint(spec: TaskSpec) -> str | None:
    """What may have been meant by a spec that is no task of ours; ``None``: it may be the user's own."""
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
