from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.metrics.pass_at_k import pass_at_k
from entroshape.metrics.points import EvaluationPoint, choice_half, report_half

POINT = {"weights": "last", "step": 100, "temperature": 0.6, "samples": 4, "successes": [1, 0, 4, 2]}


def point(**changes):
    return EvaluationPoint.from_dict({**POINT, **changes})


def test_a_point_survives_its_file():
    assert point().to_dict() == POINT
    assert EvaluationPoint.from_dict(point().to_dict()) == point()


def test_the_mean_and_pass_at_k_are_those_of_the_existing_estimators():
    assert point().mean == pytest.approx(7 / 16)
    for k in range(1, 5):
        assert point().pass_at(k) == pytest.approx(pass_at_k(4, POINT["successes"], k).mean())


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_failures_are_the_share_of_subsets_without_a_success(case):
    n, c, k = case
    outcomes = [True] * c + [False] * (n - c)
    row = point(samples=n, successes=[c]).failures(k)[0]
    for j in range(k + 1):
        subsets = list(combinations(outcomes, j))
        assert row[j] == pytest.approx(sum(not any(subset) for subset in subsets) / len(subsets))


def test_greedy_decoding_gives_its_mean_as_pass_at_every_k():
    greedy = point(temperature=0, samples=1, successes=[1, 0, 0, 1])
    assert greedy.mean == greedy.pass_at(1) == greedy.pass_at(32) == 0.5
    assert greedy.failures(3).tolist() == [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]]


@given(st.integers(2, 40))
def test_the_halves_split_the_problems(problems):
    both = [*choice_half(problems), *report_half(problems)]
    assert sorted(both) == list(range(problems))
    assert 0 <= len(choice_half(problems)) - len(report_half(problems)) <= 1


def test_the_mean_of_all_is_made_of_the_halves():
    assert point().mean == (point().select(choice_half(4)).mean + point().select(report_half(4)).mean) / 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "first"}, "weights must be start, last, ema"),
        ({"weights": "mix:"}, "weights must be"),
        ({"weights": "mix-ema:0.5\n"}, "weights must be"),
        ({"weights": 3}, "weights must be"),
        ({"step": -1}, "step must be a whole number of at least 0; got -1"),
        ({"weights": "start"}, "step must be 0 for the start's weights; got 100"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"temperature": -0.5}, "temperature must be"),
        ({"samples": 0}, "samples must be"),
        ({"temperature": 0}, "samples must be 1 at temperature 0"),
        ({"successes": []}, "successes must be a tuple with one count per problem"),
        ({"successes": 3}, "successes must be a tuple with one count per problem"),
        ({"successes": [1, 5]}, r"successes\[1\] must be a whole number from 0 to 4; got 5"),
        ({"successes": [1.0]}, r"successes\[0\] must be a whole number"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(changes, message):
    with pytest.raises(ValueError, match=f"point: {message}"):
        point(**changes)


@pytest.mark.parametrize("value", [None, [], {}, {**POINT, "more": 1}, {"weights": "last"}])
def test_what_is_not_a_point_is_refused(value):
    with pytest.raises(
        ValueError, match=r"^here must be an object with weights, step, temperature, samples, successes"
    ):
        EvaluationPoint.from_dict(value, "here")


@pytest.mark.parametrize("k", [0, 5, 1.0])
def test_pass_at_more_than_the_samples_is_refused(k):
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 4"):
        point().pass_at(k)


def test_positions_and_halves_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"positions\[1\] must be a whole number from 0 to 3; got 4"):
        point().select([0, 4])
    with pytest.raises(ValueError, match="successes must be"):
        point().select([])
    with pytest.raises(ValueError, match="problems must be a whole number of at least 2; got 1"):
        report_half(1)
