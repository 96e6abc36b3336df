"""Fresh problems: a third set that shares no problem with the training and the held-out problems."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entroshape.tasks import load_task

SPECS = [
    "countdown",
    "countdown_search?level=hard",
    "countdown_search?level=easy",
    "reasoning_gym:chain_sum?max_terms=3",
]


def identity(row):
    """What makes two problems the same: for Countdown, numbers in any order and the target."""
    return (tuple(sorted(row["numbers"])), row["target"]) if "numbers" in row else row["prompt"]


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), number=st.integers(1, 40), train_size=st.integers(1, 400))
def test_fresh_problems_are_distinct_and_in_neither_other_set(spec, seed, number, train_size):
    fresh = load_task(spec, train_size=train_size, test_size=256, seed=seed, fresh=number)
    plain = load_task(spec, train_size=train_size, test_size=256, seed=seed)
    problems = [identity(row) for row in fresh.test]
    assert len(set(problems)) == len(problems) == number
    assert not set(problems) & {identity(row) for task in (plain.train, plain.test) for row in task}
    assert fresh.train["prompt"][:] == plain.train["prompt"][:]
    assert set(fresh.test["id"]).isdisjoint([*plain.test["id"], *plain.train["id"]])


@pytest.mark.parametrize("spec", SPECS)
def test_more_fresh_problems_begin_with_the_fewer_ones(spec):
    few, more = (load_task(spec, train_size=50, test_size=8, fresh=number).test["prompt"][:] for number in (5, 12))
    if not spec.startswith("reasoning_gym"):  # whose data sets draw from a seed and the size
        assert more[:5] == few
    assert load_task(spec, train_size=50, test_size=8, fresh=12).test["prompt"][:] == more


def test_solvers_and_verdicts_are_those_of_the_task():
    task = load_task("countdown", train_size=10, fresh=3)
    columns = {name: task.test[name] for name in ("numbers", "target")}
    assert task.reward(task.test["prompt"], ["1 + 1 = 2"] * 3, **columns) == [0.0] * 3


@pytest.mark.parametrize(
    ("spec", "fresh", "message"),
    [
        ("math:gsm8k", 8, "fresh problems exist only for tasks that make their problems"),
        ("countdown", 0, "fresh must be a whole number of at least 1; got 0"),
        ("countdown_search?level=middle", 39_000, "fresh must be at most .* for countdown_search"),
        ("reasoning_gym:chain_sum?min_terms=2&max_terms=2&max_digits=1", 500, "fresh must be at most"),
    ],
)
def test_a_task_without_enough_problems_is_refused(spec, fresh, message):
    with pytest.raises(ValueError, match=message):
        load_task(spec, train_size=20, fresh=fresh)
