"""A task's verdicts: one call gives the reward and the final answer of each completion, checked."""

from dataclasses import replace

import pytest

from entroshape.tasks import Verdict, load_task


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
