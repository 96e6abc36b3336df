"""Majority@n: the vote among final answers, held to every way of breaking its ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.evaluation import (
    bootstrap_interval,
    evaluation_metrics,
    majority_at_n,
    metric_intervals,
    paired_changes,
)

VOTES = st.lists(st.tuples(st.sampled_from(["1", "2", "3", None, ""]), st.booleans()), min_size=1, max_size=9)


def over_every_draw(answers, successes):
    """Draws each of the most frequent answers, then each response that gives it: a plain average over the draws."""
    cast = [answer for answer in answers if answer]
    if not cast:
        return 0.0
    most = max(cast.count(answer) for answer in cast)
    drawn = [answer for answer in dict.fromkeys(cast) if cast.count(answer) == most]
    rights = []
    for answer in drawn:
        of_answer = [success for each, success in zip(answers, successes, strict=True) if each == answer]
        rights.append(sum(of_answer) / len(of_answer))
    return sum(rights) / len(drawn)


@given(VOTES)
def test_it_is_the_mean_over_every_draw_among_the_most_frequent(votes):
    answers, successes = zip(*votes, strict=True)
    assert majority_at_n(answers, successes) == pytest.approx(over_every_draw(answers, successes))


@given(VOTES, st.randoms())
def test_the_order_of_the_samples_does_not_matter(votes, random):
    shuffled = random.sample(votes, len(votes))
    assert majority_at_n(*zip(*votes, strict=True)) == pytest.approx(majority_at_n(*zip(*shuffled, strict=True)))


@pytest.mark.parametrize(
    ("answers", "successes", "value"),
    [
        (["4"], [True], 1.0),
        (["4", "5", "5"], [True, False, False], 0.0),
        (["4", "4", "5", "5"], [True, True, False, False], 0.5),
        (["4", "5", "6", "7"], [True, False, False, False], 0.25),
        ([None, None, None, "4"], [False, False, False, True], 1.0),
        ([None, ""], [False, False], 0.0),
        (["4", "4", "5"], [True, False, False], 0.5),
    ],
)
def test_votes_ties_and_silence(answers, successes, value):
    assert majority_at_n(answers, successes) == value


@pytest.mark.parametrize(("answers", "successes"), [([], []), (["4"], []), (["4"], [True, False])])
def test_what_cannot_be_counted_is_refused(answers, successes):
    with pytest.raises(ValueError, match="answers and successes must be of one length, at least 1; got"):
        majority_at_n(answers, successes)


def rows(generator, problems=20, samples=5):
    return [
        {"problem": f"p{p}", "success": answer == 0, "answer": str(answer), "length": 3, "cut": False, "reward": 0.0}
        for p in range(problems)
        for answer in generator.integers(0, 3, samples).tolist()
    ]


def test_it_stands_among_the_metrics_with_its_interval_where_rows_have_answers():
    table = rows(np.random.default_rng(0))
    values = [
        majority_at_n([row["answer"] for row in of_problem], [row["success"] for row in of_problem])
        for of_problem in (table[start : start + 5] for start in range(0, 100, 5))
    ]
    metrics = evaluation_metrics(table)
    assert metrics["majority@5"] == pytest.approx(np.mean(values))
    assert (metrics["majority@5_low"], metrics["majority@5_high"]) == bootstrap_interval(values)
    assert metric_intervals(table)["majority@5"]["value"] == metrics["majority@5"]
    assert "entropy" not in metrics
    without = evaluation_metrics([{key: row[key] for key in row if key != "answer"} for row in table])
    assert without == {name: value for name, value in metrics.items() if not name.startswith("majority")}


def test_its_change_is_paired_by_problem():
    before, after = rows(np.random.default_rng(0)), rows(np.random.default_rng(1))
    change = paired_changes(before, after)["majority@5"]
    difference = evaluation_metrics(after)["majority@5"] - evaluation_metrics(before)["majority@5"]
    assert change["value"] == pytest.approx(difference)
