"""The user's own functions: found by name, checked at every call, and named in every error."""

import functools
import math
import pickle
import sys
from dataclasses import FrozenInstanceError

import pytest
import torch

from entroshape.errors import RewardError, RewardValueError
from entroshape.tasks import Task, load_task
from entroshape.tasks.python import checked_reward, load_reward, resolve

MODULE = '''
from datasets import Dataset
from entroshape.tasks import Task

async def later(prompts, completions, **columns):
    return [1.0] * len(prompts)

def by_length(prompts, completions, **columns):
    """Longer is better."""
    return [min(1.0, len(text) / 4) for text in completions]

def named_columns(prompts, completions, target):
    return [float(text == str(goal)) for text, goal in zip(completions, target)]

def broken(prompts, completions, **columns):
    raise KeyError("solution")

NOT_A_FUNCTION = 7

def rows(count):
    return Dataset.from_dict({"id": [str(n) for n in range(count)], "prompt": ["?"] * count})

def my_task():
    return Task(name="mine", train=rows(5), test=rows(3), reward=by_length, max_completion_length=8)

ready = my_task()

class Rewards:
    by_length = staticmethod(by_length)
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current directory, which is not on the Python path yet."""
    (tmp_path / "my_rewards.py").write_text(MODULE)
    (tmp_path / "needs_more.py").write_text("import surely_not_installed")
    (tmp_path / "divides.py").write_text("one = 1\none / 0")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)")
    (tmp_path / "misspelt.py").write_text("def f(:")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    yield "my_rewards"
    for name in ("my_rewards", "needs_more"):
        sys.modules.pop(name, None)


def test_reward_in_the_current_directory_takes_the_place_of_the_verifier(module):
    task = load_task("countdown", reward=f"{module}:by_length", train_size=2, test_size=2)
    assert task.reward(["?", "?"], ["ab", "abcdef"], numbers=[[1], [1]], target=[3, 3]) == [0.5, 1.0]
    assert (task.reward.__name__, task.reward.__doc__) == ("by_length", "Longer is better.")
    assert load_task("countdown", train_size=2, test_size=2).reward is not task.reward


def test_a_function_without_keyword_arguments_gets_the_columns_that_it_names(module):
    reward = load_reward(f"{module}:named_columns")
    assert reward(["?"], ["3"], target=[3], numbers=[[1]], trainer_state=object()) == [1.0]


def test_names_may_be_dotted(module):
    assert load_reward(f"{module}:Rewards.by_length")(["?"], ["abcd"]) == [1.0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("by_length", "expected module:name, such as my_rewards:my_reward; got 'by_length'"),
        ("my_rewards:", "expected module:name"),
        (":by_length", "expected module:name"),
        ("my rewards:by_length", "expected module:name"),
        (
            "my_reward:by_length",
            "no module 'my_reward' on .* directory, .* has .*my_rewards.py, needs_more.py",
        ),
        ("my_rewards.deeper:f", "my_rewards.deeper"),
        ("my_rewards:by_lenght", r"module 'my_rewards' \(.*my_rewards.py\) has no 'by_lenght'; did you mean by_length"),
        ("my_rewards:zzz", "has no 'zzz'; it has Dataset, NOT_A_FUNCTION, Rewards, Task, broken, by_length"),
        ("my_rewards:NOT_A_FUNCTION", r"must be a function f\(prompts, completions, \*\*columns\); got 7"),
        ("my_rewards:Rewards", "must be a function"),
        ("my_rewards:later", r"must be a plain function; got a coroutine function \(async def\)"),
    ],
)
def test_what_cannot_be_a_reward_is_refused_with_what_there_is(module, spec, message):
    with pytest.raises(ValueError, match=message):
        load_reward(spec)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("needs_more", r"ModuleNotFoundError: No module named 'surely_not_installed' \(needs_more\.py, line 1\)"),
        ("divides", r"ZeroDivisionError: division by zero \(divides\.py, line 2\)"),
        ("leaves", r"SystemExit: 3 \(leaves\.py, line 1\)"),
        ("misspelt", r"SyntaxError: .*misspelt\.py, line 1"),
    ],
)
def test_an_error_inside_the_users_module_is_one_sentence_with_its_place(module, name, message):
    with pytest.raises(ValueError, match=f"module '{name}' cannot be imported: {message}"):
        resolve(f"{name}:f")


def test_a_reward_that_clears_its_arguments_or_leaves_changes_nothing_outside(module):
    def clears(prompts, completions, **columns):
        count = len(completions)
        for values in (prompts, *completions, completions, *columns.values()):
            values.clear()
        return [1.0] * count

    prompts, answers = ["?", "!"], [["a"], ["b"]]
    completions = [[{"role": "assistant", "content": "x"}], [{"role": "assistant", "content": "y"}]]
    assert checked_reward(clears, "clears")(prompts, completions, answer=answers) == [1.0, 1.0]
    assert (prompts, answers, completions[1][0]["content"]) == (["?", "!"], [["a"], ["b"]], "y")
    with pytest.raises(RuntimeError, match=r"reward function 'leaves' raised SystemExit: 3"):
        checked_reward(lambda prompts, completions: sys.exit(3), "leaves")(["?"], ["x"])


def test_what_a_reward_raises_names_the_function_and_keeps_the_cause(module):
    with pytest.raises(RewardError, match=r"reward function 'my_rewards:broken' raised KeyError: 'solution'") as error:
        load_reward("my_rewards:broken")(["?"], ["x"])
    assert isinstance(error.value.__cause__, KeyError)


def test_a_reward_that_is_checked_is_not_checked_again_and_what_wraps_it_is(module):
    reward = load_reward("my_rewards:broken")
    assert checked_reward(reward, "other") is reward
    with pytest.raises(RuntimeError, match=r"^reward function 'my_rewards:broken' raised KeyError: 'solution'$"):
        checked_reward(reward, "other")(["?"], ["x"])

    @functools.wraps(load_reward("my_rewards:by_length"))
    def wrong_count(prompts, completions):
        return []

    with pytest.raises(RewardValueError, match="reward function 'other' must return one number per completion"):
        checked_reward(wrong_count, "other")(["?"], ["x"])


def test_no_attribute_of_a_function_passes_it_off_as_checked(module):
    def wrong_count(prompts, completions):
        return []

    wrong_count.__dict__.update(vars(load_reward("my_rewards:by_length")), names_itself=wrong_count)
    with pytest.raises(RewardValueError, match="reward function 'other' must return one number per completion"):
        checked_reward(wrong_count, "other")(["?"], ["x"])


def test_a_checked_reward_is_its_function_to_a_trainer_and_cannot_be_changed(module):
    reward = load_reward("my_rewards:by_length")
    assert (reward.__name__, reward.__doc__) == ("by_length", "Longer is better.")
    assert pickle.loads(pickle.dumps(reward))(["?"], ["abcd"]) == [1.0]
    with pytest.raises(FrozenInstanceError):
        reward.name = "another"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "must return one number per completion: expected 2, got 1"),
        ([1.0, 2.0, 3.0], "must return one number per completion: expected 2, got 3"),
        ([], "expected 2, got 0"),
        (1.0, "must return a list of numbers, got float"),
        (None, "must return a list of numbers, got NoneType"),
        ({"a": 1.0, "b": 2.0}, "must return a list of numbers, got dict"),
        (torch.tensor(1.0), "must return a list of numbers, got float"),
        ([1.0, math.nan], "must return finite numbers; got nan for completion 1"),
        ([math.inf, 1.0], "must return finite numbers; got inf for completion 0"),
        ([1.0, None], "must return finite numbers; got None for completion 1"),
        ([1.0, "1"], "must return finite numbers; got '1' for completion 1"),
        ([1j, 1.0], "must return finite numbers; got 1j for completion 0"),
        (torch.tensor([[1.0], [0.0]]), r"must return finite numbers; got \[1.0\] for completion 0"),
        (torch.tensor([1.0, math.nan]), "must return finite numbers; got nan for completion 1"),
    ],
)
def test_what_is_not_one_finite_number_a_completion_is_refused(values, message):
    reward = checked_reward(lambda prompts, completions, **columns: values, "mine:f")
    with pytest.raises(ValueError, match=f"reward function 'mine:f' {message}" if "must" in message else message):
        reward(["?", "?"], ["a", "b"])


@pytest.mark.parametrize(
    "values", [[1, 0], (True, False), torch.tensor([1.0, 0.0]), torch.tensor([1, 0]).numpy(), [torch.tensor(1), 0.0]]
)
def test_lists_arrays_and_tensors_become_plain_floats(values):
    rewards = checked_reward(lambda prompts, completions: values, "mine:f")(["?", "?"], ["a", "b"])
    assert rewards == [1.0, 0.0]
    assert [type(value) for value in rewards] == [float, float]


@pytest.mark.parametrize("name", ["my_task", "ready"])
def test_a_task_or_a_function_that_returns_one_is_loaded(module, name):
    task = load_task(f"{module}:{name}", train_size=2)
    assert (task.name, len(task.train), len(task.test)) == ("mine", 2, 3)
    assert task.reward(["?"], ["ab"]) == [0.5]


def test_the_reward_of_a_users_task_is_checked_too(module):
    task = load_task("countdown", reward=f"{module}:broken", train_size=2, test_size=2)
    with pytest.raises(RuntimeError, match="my_rewards:broken"):
        task.reward(["?"], ["ab"], target=[1])


def test_something_else_is_not_a_task(module):
    with pytest.raises(ValueError, match=r"task 'my_rewards:NOT_A_FUNCTION' must be a Task .*; got int"):
        load_task("my_rewards:NOT_A_FUNCTION")
    assert not isinstance(resolve("my_rewards:rows"), Task)
