"""A task's verdicts: one call gives the reward and the final answer of each completion, checked."""

from dataclasses import replace

import pytest

from entroshape.tasks import Task, Verdict, load_task


@pytest.fixture(scope="module")
def task():
    return load_task("countdown", train_size=2, test_size=2)


def verdicts(prompts, completions, **columns):
    return [Verdict(float(completion == "yes"), completion or None) for completion in completions]


def rewards(prompts, completions, **columns):
    return [verdict.reward for verdict in verdicts(prompts, completions)]


def test_a_task_without_answers_gives_its_rewards(task):
    columns = {"numbers": task.test["numbers"], "target": task.test["target"]}
    assert task.verify(task.test["prompt"], ["no", "idea"], **columns) == [Verdict(0.0, None)] * 2
    assert replace(task, reward=rewards).verify(["?"] * 2, ["yes", "no"], target=[1, 2])[0] == Verdict(1.0, None)


def test_a_task_with_answers_gives_both(task):
    knowing = replace(task, reward=rewards, verdicts=verdicts)
    assert knowing.verify(["?"] * 3, ["yes", "no", ""]) == [Verdict(1.0, "yes"), Verdict(0.0, "no"), Verdict(0.0, None)]


def test_a_task_of_verdicts_alone_derives_its_reward_and_follows_when_they_are_replaced(task):
    fields = {"name": "mine", "train": task.train, "test": task.test, "max_completion_length": 8}
    derived = Task(verdicts=verdicts, **fields)
    assert derived.reward(["?"] * 2, ["yes", "no"], target=[1, 2]) == [1.0, 0.0]
    assert (derived.reward.__name__, derived.verify(["?"], ["yes"])) == ("verdicts", [Verdict(1.0, "yes")])
    half = replace(derived, verdicts=lambda prompts, completions, **columns: [Verdict(0.5, None)] * len(completions))
    assert (half.reward(["?"], ["yes"]), half.verify(["?"], ["yes"])) == ([0.5], [Verdict(0.5, None)])
    assert replace(derived, reward=rewards, verdicts=None).reward is rewards
    with pytest.raises(ValueError, match="reward of task 'mine' must be a function with a __name__; got None"):
        Task(**fields)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "must return one number .* completion: expected 1, got 0"),
        ([Verdict(float("nan"), "x")], "must return finite numbers; got nan"),
        ([Verdict("1", "x")], "must return finite numbers; got '1'"),
    ],
)
def test_verdicts_that_are_none_are_refused_by_the_name_of_the_reward(task, given, words):
    with pytest.raises(ValueError, match=f"reward function 'rewards' {words}"):
        replace(task, reward=rewards, verdicts=lambda *_, **__: given).verify(["?"], ["x"])


def test_a_verifier_that_raises_is_named(task):
    def broken(prompts, completions, **columns):
        raise KeyError("sum")

    with pytest.raises(RuntimeError, match="reward function 'rewards' raised KeyError: 'sum'"):
        replace(task, reward=rewards, verdicts=broken).verify(["?"], ["x"])
