"""Overlong punishments: DAPO's, and Group Relative Overlong Punishment (Appendix D) case by case."""

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import GROUP_ID, assert_close

from entroshape import GroupRelativeOverlong, SoftOverlong

GAMMA = st.sampled_from([0.75, 0.51, 0.6, 2 / 3, 0.7, 0.8, 0.9, 0.99])


@st.composite
def groups(draw, max_length=60):
    size = draw(st.integers(1, 12))
    ids = draw(st.lists(GROUP_ID, min_size=1, max_size=3, unique=True))
    return (
        draw(st.lists(st.integers(0, max_length), min_size=size, max_size=size)),
        draw(st.lists(st.booleans(), min_size=size, max_size=size)),
        draw(st.lists(st.sampled_from(ids), min_size=size, max_size=size)),
    )


def punished(rule, lengths, success, group=None):
    group = [0] * len(lengths) if group is None else group
    return rule.punishment(torch.tensor(lengths), torch.tensor(success), torch.tensor(group))


@given(group=groups(), max_length=st.integers(1, 50), data=st.data())
def test_soft_overlong_matches_the_oracle(group, max_length, data):
    cache = data.draw(st.integers(1, max_length))
    got = punished(SoftOverlong(max_length=max_length, cache=cache), *group)
    assert_close(got, [oracle.soft_overlong(length, max_length, cache) for length in group[0]])


def test_soft_overlong_is_linear_over_the_cache_and_minus_one_from_the_maximum():
    rule = SoftOverlong(max_length=10, cache=4)
    assert punished(rule, [0, 6, 7, 8, 10, 11, 99], [True] * 7).tolist() == [0, 0, -0.25, -0.5, -1, -1, -1]


@pytest.mark.parametrize("hard", [None, (40, 10)])
@given(group=groups(), gamma1=GAMMA)
def test_group_relative_matches_the_oracle(hard, group, gamma1):
    rule = GroupRelativeOverlong(
        gamma1=gamma1, hard=None if hard is None else SoftOverlong(max_length=hard[0], cache=hard[1])
    )
    lengths, success, ids = group
    assert_close(punished(rule, *group), oracle.group_relative_overlong(lengths, success, ids, gamma1, hard))


def test_an_easy_question_punishes_the_correct_measured_among_themselves():
    # L = max((2 + 14) / 2, 23 / 4) = 8 from the correct ones; the long wrong one neither counts nor is punished.
    got = punished(GroupRelativeOverlong(), [2, 3, 4, 14, 900], [True] * 4 + [False])
    assert_close(got, [0.0, 0.0, 0.0, -6 / 16, 0.0])


def test_a_hard_question_punishes_nobody():
    assert not punished(GroupRelativeOverlong(), [1, 1, 1, 900], [True, False, False, False]).any()


def test_a_hard_question_gets_dapos_punishment_if_that_is_asked_for():
    rule = GroupRelativeOverlong(hard=SoftOverlong(max_length=10, cache=4))
    got = punished(rule, [8, 8, 6, 900], [True, False, False, False])
    assert got.tolist() == [-0.5, -0.5, 0.0, -1.0]


def test_in_between_the_correct_are_punished_if_they_are_more_measured_on_all():
    # L = max((2 + 10) / 2, 30 / 5) = 6 of all five.
    got = punished(GroupRelativeOverlong(), [10, 4, 4, 10, 2], [True, True, True, False, False])
    assert_close(got, [-4 / 12, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("success", [[True, False], [True, False, True, False, False]])
def test_in_between_the_incorrect_are_punished_at_a_tie_and_where_they_are_more(success):
    lengths = [100, 100] if len(success) == 2 else [40, 90, 10, 10, 10]
    got = punished(GroupRelativeOverlong(), lengths, success)
    assert_close(got, oracle.group_relative_overlong(lengths, success, [0] * len(success)))
    assert not got[torch.tensor(success)].any()


def test_the_punishment_grows_from_zero_at_the_limit_to_one_half_at_twice_the_limit():
    # L >= (min + max) / 2 and nobody is longer than max, so 2 L is reached beside an empty response only: L = 10 here.
    assert_close(punished(GroupRelativeOverlong(), [0, 1, 10, 15, 20], [True] * 5), [0.0, 0.0, 0.0, -0.25, -0.5])


@pytest.mark.parametrize(("gamma1", "n", "size"), [(0.6, 3, 5), (0.7, 7, 10), (0.8, 4, 5), (0.9, 9, 10)])
def test_both_boundaries_are_inclusive_whatever_the_rounding_of_gamma(gamma1, n, size):
    rule = GroupRelativeOverlong(gamma1=gamma1)
    # Easy at p = gamma1: judged among the correct alone, whose lengths are equal: nobody is punished; in between, the
    # short wrong ones would pull L below the correct ones' length.
    right = [True] * n + [False] * (size - n)
    assert not punished(rule, [50] * n + [1] * (size - n), right).any()
    # Hard at p = gamma2: nobody is punished; in between, the long wrong one would be.
    wrong = [not value for value in right]
    assert not punished(rule, [50] + [1] * (size - 1), wrong).any()


@given(group=groups(), gamma1=GAMMA)
def test_group_relative_is_never_a_reward_and_at_most_one_half(group, gamma1):
    got = punished(GroupRelativeOverlong(gamma1=gamma1), *group)
    assert bool(((got <= 0) & (got >= -0.5)).all())


@given(group=groups(), gamma1=GAMMA)
def test_within_an_outcome_a_longer_response_is_punished_no_less(group, gamma1):
    lengths, success, ids = group
    got = punished(GroupRelativeOverlong(gamma1=gamma1), *group).tolist()
    for i in range(len(ids)):
        for k in range(len(ids)):
            if ids[i] == ids[k] and success[i] == success[k] and lengths[i] <= lengths[k]:
                assert got[k] <= got[i]


@given(group=groups(), gamma1=GAMMA, factor=st.integers(2, 50))
def test_group_relative_depends_on_lengths_relative_to_the_group_s(group, gamma1, factor):
    lengths, success, ids = group
    rule = GroupRelativeOverlong(gamma1=gamma1)
    longer = punished(rule, [factor * length for length in lengths], success, ids)
    assert_close(longer, punished(rule, *group).tolist())


@given(group=groups(), data=st.data())
def test_punishments_follow_a_permutation_of_the_responses(group, data):
    order = data.draw(st.permutations(range(len(group[0]))))
    rule = GroupRelativeOverlong(hard=SoftOverlong(max_length=40, cache=10))
    permuted = punished(rule, *([column[i] for i in order] for column in group))
    assert_close(permuted, punished(rule, *group)[list(order)].tolist())


@pytest.mark.parametrize("success", [[True, True, True], [False, False, False], [True, True, False]])
def test_a_group_of_empty_responses_is_not_punished(success):
    assert punished(GroupRelativeOverlong(gamma1=0.6), [0, 0, 0], success).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("gamma1", [0.5, 1.0, 0.0, -1.0, 1.5, float("nan"), "0.75"])
def test_gamma1_outside_one_half_to_one_is_an_error(gamma1):
    with pytest.raises(ValueError, match=r"^gamma1 must .*0.5.*got"):
        GroupRelativeOverlong(gamma1=gamma1)


def test_a_rule_for_hard_questions_that_is_no_soft_overlong_is_an_error():
    with pytest.raises(ValueError, match=r"^hard must .*got"):
        GroupRelativeOverlong(hard=(10, 4))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("max_length", {"max_length": 0, "cache": 1}),
        ("max_length", {"max_length": -5, "cache": 1}),
        ("max_length", {"max_length": float("nan"), "cache": 1}),
        ("cache", {"max_length": 10, "cache": 0}),
        ("cache", {"max_length": 10, "cache": -1}),
        ("cache", {"max_length": 10, "cache": 11}),
    ],
)
def test_lengths_that_make_no_punishment_are_an_error(name, options):
    with pytest.raises(ValueError, match=f"^{name} must .*got"):
        SoftOverlong(**options)
