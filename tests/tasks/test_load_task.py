"""Naming a task: what exists, what is said of what does not, and what a Task must hold."""

import subprocess
import sys

import pytest
from datasets import Dataset

from entroshape.tasks import TASKS, Task, completion_text, load_task

ROWS = Dataset.from_dict({"id": ["a"], "prompt": ["1+1?"]})


def reward(prompts, completions, **columns):
    return [0.0] * len(completions)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("countdwn", "did you mean countdown?"),
        ("Countdown", "did you mean countdown?"),
        ("countdown:3", "did you mean countdown?"),
        ("reasoning-gym:chain_sum", "did you mean reasoning_gym:<name>?"),
        ("reasoning_gym", "did you mean reasoning_gym:<name>?"),
        ("reasoning_gym:", "did you mean reasoning_gym:<name>?"),
        ("json:problems.jsonl", "did you mean jsonl:<path>?"),
        ("jsonl", "did you mean jsonl:<path>?"),
        ("gsm8k", "did you mean math:gsm8k?"),
        ("aime24", "did you mean math:aime24?"),
        ("AIME2025", "did you mean math:aime25?"),
        ("math:aime2024", "did you mean math:aime24?"),
        ("math:MATH-500?from=copy", "did you mean math:math500?"),
        ("math:olympiad", "did you mean math:<name>?"),
        ("math", "did you mean math:<name>?"),
        ("surely_nothing", "Available: countdown"),
        ("", "Available: countdown"),
    ],
)
def test_an_unknown_task_says_what_exists(spec, hint):
    with pytest.raises(ValueError, match="unknown task") as error:
        load_task(spec)
    assert hint in str(error.value)
    assert all(form in str(error.value) for form in TASKS)


@pytest.mark.parametrize("name", ["train_size", "test_size"])
@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8"])
def test_sizes_must_be_positive_ints(name, size):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1; got {size!r}"):
        load_task("countdown", **{name: size})


def test_a_task_without_training_problems_is_for_evaluation_alone(monkeypatch, tmp_path):
    (tmp_path / "held_out_only.py").write_text(
        "from datasets import Dataset\nfrom entroshape.tasks import Task\n"
        "rows = Dataset.from_dict({'id': ['a'], 'prompt': ['1+1?']})\n"
        "def reward(prompts, completions, **columns): return [0.0] * len(prompts)\n"
        "mine = Task(name='mine', train=rows.select([]), test=rows, reward=reward, max_completion_length=8)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(load_task("held_out_only:mine", training=False).test) == 1
    with pytest.raises(ValueError, match="'held_out_only:mine' has only test problems"):
        load_task("held_out_only:mine")


def test_a_reward_of_ones_own_leaves_no_answers_to_vote_with(monkeypatch, tmp_path):
    (tmp_path / "own_reward.py").write_text("def f(prompts, completions, **columns): return [0.0] * len(prompts)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = "reasoning_gym:chain_sum"
    assert load_task(spec, train_size=8, test_size=4).verdicts is not None
    assert load_task(spec, train_size=8, test_size=4, reward="own_reward:f").verdicts is None
    assert load_task("countdown", train_size=8, test_size=4).verdicts is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ROWS.remove_columns("prompt")}, "train of task 'mine' lacks the column 'prompt'"),
        ({"test": ROWS.remove_columns("id")}, "test of task 'mine' lacks the column 'id'"),
        ({"test": ROWS.select([])}, "test of task 'mine' has no rows"),
        ({"reward": 3}, "reward of task 'mine' must be a function with a __name__; got 3"),
        ({"max_completion_length": 0}, "max_completion_length must be a whole number of at least 1; got 0"),
        ({"max_completion_length": 2.0}, "max_completion_length must be a whole number of at least 1; got 2.0"),
    ],
)
def test_a_task_is_checked_when_made(change, message):
    fields = {"name": "mine", "train": ROWS, "test": ROWS, "reward": reward, "max_completion_length": 8}
    Task(**fields)
    with pytest.raises(ValueError, match=message):
        Task(**{**fields, **change})


def said(content):
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ([said("once")], "once"),
        ([said("a"), {"role": "tool", "content": "b"}, said("c")], "c"),
        ([said([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}])], "in parts"),
        ([{**said(None), "tool_calls": []}], ""),
        ([{"role": "user", "content": "hello"}], ""),
        ([], ""),
    ],
)
def test_text_of_a_completion_is_what_the_assistant_said_last(completion, text):
    assert completion_text(completion) == text


@pytest.mark.parametrize("completion", [None, 3, said("alone"), ["text"], [said(3)]])
def test_what_is_no_completion_is_refused(completion):
    with pytest.raises(ValueError, match="must be a str or a list of"):
        completion_text(completion)


@pytest.mark.slow
def test_importing_tasks_imports_none_of_the_extras():
    extras = {"datasets", "math_verify", "reasoning_gym", "transformers"}
    code = f"import sys, entroshape.tasks; print(sorted({extras} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
