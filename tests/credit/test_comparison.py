"""Comparison weights: a value over the mean of the set it is compared with."""

import math

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import GROUP_ID, NAN, assert_close, masks

from entroshape.credit.comparison import comparison_weights, response_weights

AXES = ["column", "row", "matrix"]
MEANS = ["arithmetic", "geometric"]
POSITIVE = st.one_of(st.sampled_from([1e-6, 1.0, 1e6]), st.floats(min_value=2**-20, max_value=2**20, width=32))


@st.composite
def tables(draw):
    """(values with NaN where masked, mask, sets)."""
    size, width = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    mask = draw(masks(size, width))
    values = [[draw(POSITIVE) if m else NAN for m in row] for row in mask]
    ids = draw(st.lists(GROUP_ID, min_size=1, max_size=3, unique=True))
    return values, mask, draw(st.lists(st.sampled_from(ids), min_size=size, max_size=size))


def weights_of(values, mask, sets, **options):
    return comparison_weights(
        torch.tensor(values, dtype=torch.float32), torch.tensor(mask) == 1, torch.tensor(sets), **options
    )


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("axis", AXES)
@given(table=tables())
def test_weights_match_the_oracle(axis, mean, table):
    values, mask, sets = table
    expected = oracle.token_weights(values, mask, sets, axis, mean)
    assert_close(weights_of(values, mask, sets, axis=axis, mean=mean), expected)


@pytest.mark.parametrize("axis", AXES)
@given(table=tables())
def test_arithmetic_weights_have_mean_one_over_every_comparison_set(axis, table):
    values, mask, sets = table
    weights = weights_of(values, mask, sets, axis=axis).tolist()
    for i, row in enumerate(mask):
        for t, m in enumerate(row):
            if m:
                mine = [weights[k][s] for k, s in oracle.compared_tokens(i, t, mask, sets, axis)]
                assert math.fsum(mine) / len(mine) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("axis", AXES)
@given(table=tables())
def test_geometric_weights_multiply_to_one_over_every_comparison_set(axis, table):
    values, mask, sets = table
    weights = weights_of(values, mask, sets, axis=axis, mean="geometric").tolist()
    for i, row in enumerate(mask):
        for t, m in enumerate(row):
            if m:
                mine = [weights[k][s] for k, s in oracle.compared_tokens(i, t, mask, sets, axis)]
                assert math.fsum(map(math.log, mine)) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("axis", AXES)
@given(table=tables(), value=st.floats(2**-10, 2**10, width=32))
def test_equal_values_weigh_one(axis, mean, table, value):
    _, mask, sets = table
    values = [[value if m else NAN for m in row] for row in mask]
    assert_close(weights_of(values, mask, sets, axis=axis, mean=mean), [[float(m) for m in row] for row in mask])


@pytest.mark.parametrize("mean", MEANS)
@given(table=tables(), data=st.data())
def test_scaling_one_comparison_set_changes_no_weight(mean, table, data):
    values, mask, sets = table
    scale = {(a, t): data.draw(st.floats(0.125, 8.0)) for a in sorted(set(sets)) for t in range(len(mask[0]))}
    scaled = [[v * scale[sets[i], t] for t, v in enumerate(row)] for i, row in enumerate(values)]
    assert_close(
        weights_of(scaled, mask, sets, mean=mean), weights_of(values, mask, sets, mean=mean).tolist(), atol=1e-5
    )


@pytest.mark.parametrize("axis", AXES)
@given(table=tables(), data=st.data())
def test_weights_follow_a_permutation_of_the_responses(axis, table, data):
    values, mask, sets = table
    order = data.draw(st.permutations(range(len(sets))))
    permuted = weights_of(*([x[i] for i in order] for x in (values, mask, sets)), axis=axis)
    assert_close(permuted, weights_of(values, mask, sets, axis=axis)[list(order)].tolist())


@pytest.mark.parametrize("axis", AXES)
@given(table=tables(), extra=st.integers(1, 4))
def test_weights_do_not_see_padding(axis, table, extra):
    values, mask, sets = table
    padded = weights_of([r + [NAN] * extra for r in values], [r + [0] * extra for r in mask], sets, axis=axis)
    width = len(mask[0])
    assert_close(padded[:, :width], weights_of(values, mask, sets, axis=axis).tolist())
    assert not padded[:, width:].any()


@pytest.mark.parametrize("axis", AXES)
@given(table=tables(), data=st.data())
def test_weights_depend_on_which_sets_are_equal_and_not_on_their_ids(axis, table, data):
    values, mask, sets = table
    names = data.draw(st.lists(GROUP_ID, min_size=3, max_size=3, unique=True))
    renamed = [names[sorted(set(sets)).index(a)] for a in sets]
    assert_close(
        weights_of(values, mask, renamed, axis=axis), weights_of(values, mask, sets, axis=axis).tolist(), atol=1e-5
    )


def test_each_axis_compares_with_whom_the_spec_says():
    values = [[1.0, 3.0], [3.0, NAN], [8.0, 8.0]]
    mask, sets = [[1, 1], [1, 0], [1, 1]], [5, 5, 9]
    assert weights_of(values, mask, sets, axis="column").tolist() == [[0.5, 1.0], [1.5, 0.0], [1.0, 1.0]]
    assert weights_of(values, mask, sets, axis="row").tolist() == [[0.5, 1.5], [1.0, 0.0], [1.0, 1.0]]
    assert_close(weights_of(values, mask, sets, axis="matrix"), [[3 / 7, 9 / 7], [9 / 7, 0.0], [1.0, 1.0]])


def test_a_token_alone_in_its_comparison_set_weighs_one():
    assert weights_of([[0.3]], [[1]], [0]).tolist() == [[1.0]]


@st.composite
def columns(draw):
    """([B] values with None for empty responses, sets)."""
    size = draw(st.integers(1, 9))
    values = draw(st.lists(st.one_of(POSITIVE, st.none()), min_size=size, max_size=size))
    return values, draw(st.lists(st.sampled_from([-4, 0, 10**12]), min_size=size, max_size=size))


def response_weights_of(values, sets, **options):
    return response_weights(
        torch.tensor([NAN if v is None else v for v in values]),
        torch.tensor(sets),
        torch.tensor([v is not None for v in values]),
        **options,
    )


@pytest.mark.parametrize("mean", MEANS)
@given(column=columns())
def test_response_weights_match_the_oracle(mean, column):
    values, sets = column
    assert_close(response_weights_of(values, sets, mean=mean), oracle.response_weights(values, sets, mean))


@given(column=columns())
def test_response_weights_add_up_to_the_size_of_their_set_empty_responses_included(column):
    values, sets = column
    weights = response_weights_of(values, sets).tolist()
    for a in set(sets):
        mine = [w for w, b in zip(weights, sets, strict=True) if a == b]
        assert math.fsum(mine) == pytest.approx(len(mine), rel=1e-5)


@pytest.mark.parametrize(("option", "value"), [("axis", "diagonal"), ("axis", None), ("mean", "harmonic")])
def test_an_unknown_option_is_an_error_that_names_it_and_lists_the_choices(option, value):
    with pytest.raises(ValueError, match=rf"^{option} must be one of '.*; got {value!r}"):
        weights_of([[1.0]], [[1]], [0], **{option: value})


def test_an_unknown_mean_of_responses_is_an_error():
    with pytest.raises(ValueError, match=r"^mean must be one of .*got 'median'"):
        response_weights_of([1.0], [0], mean="median")
