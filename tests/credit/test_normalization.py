"""Shaped rewards to advantages: Eq. 6 in its three readings, and which sets carry no outcome."""

import math

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import GROUP_ID, NAN, assert_close, masks, standardising_tolerance

from entroshape.credit.normalization import normalized_advantages, one_outcome

NORMALIZATIONS = ["zero_filled", "joint", "within"]


@st.composite
def tables(draw, shaped=None):
    """(shaped rewards with NaN where masked, mask, success, sets); successes positive and failures negative."""
    size, width = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    mask = draw(masks(size, width))
    success = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    magnitude = st.floats(0.0, 3.0, width=32) if shaped is None else st.just(shaped)
    values = [
        [(draw(magnitude) * (1 if right else -1)) if m else NAN for m in row]
        for row, right in zip(mask, success, strict=True)
    ]
    ids = draw(st.lists(GROUP_ID, min_size=1, max_size=3, unique=True))
    return values, mask, success, draw(st.lists(st.sampled_from(ids), min_size=size, max_size=size))


def advantages_of(values, mask, success, sets, **options):
    return normalized_advantages(
        torch.tensor(values, dtype=torch.float32).nan_to_num(nan=0.0),
        torch.tensor(mask) == 1,
        torch.tensor(success),
        torch.tensor(sets),
        **options,
    )


def tolerances(values, mask, success, sets, normalization):
    return [
        standardising_tolerance(oracle.token_population(i, values, mask, success, sets, normalization))
        for i in range(len(mask))
    ]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@given(table=tables())
def test_advantages_match_the_oracle(normalization, table):
    expected = oracle.token_advantages(*table, normalization=normalization, gate=False)
    assert_close(advantages_of(*table, normalization=normalization), expected, atol=tolerances(*table, normalization))


@pytest.mark.parametrize("normalization", ["zero_filled", "joint"])
def test_a_constant_reward_gives_the_closed_form_of_the_token_mean_baseline(normalization):
    mask = [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]]
    success = [True, False, False, False]
    values = [[1.0 if right else -1.0] * 4 for right in success]
    got = advantages_of(values, mask, success, [0] * 4, normalization=normalization)
    n, p = 10, 0.4
    bessel = math.sqrt((n - 1) / n)
    assert got[0, 0].item() == pytest.approx(math.sqrt((1 - p) / p) * bessel, rel=1e-5)
    assert got[1, 0].item() == pytest.approx(-math.sqrt(p / (1 - p)) * bessel, rel=1e-5)


@given(table=tables(shaped=1.0))
def test_zero_filled_and_joint_agree_on_constant_rewards(table):
    _, mask, success, sets = table
    if any(oracle.token_gated(i, mask, success, sets) for i in range(len(mask))):
        return  # a set of one outcome is all 0 in both readings: the next test
    assert_close(
        advantages_of(*table, normalization="zero_filled"),
        advantages_of(*table, normalization="joint").tolist(),
        atol=2e-5,
    )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("value", [0.1, 0.7, 1.1, 3.3])
@pytest.mark.parametrize("size", [1, 3, 7, 49])
def test_a_set_of_equal_rewards_has_advantage_zero_and_no_rounding_noise(normalization, value, size):
    got = advantages_of([[value] * 3] * size, [[1] * 3] * size, [True] * size, [0] * size, normalization=normalization)
    assert got.tolist() == [[0.0] * 3] * size


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_set_of_one_token_has_advantage_zero(normalization):
    assert advantages_of([[5.0, NAN]], [[1, 0]], [True], [3], normalization=normalization).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@given(table=tables(), data=st.data())
def test_advantages_follow_a_permutation_of_the_responses(normalization, table, data):
    order = data.draw(st.permutations(range(len(table[0]))))
    got = advantages_of(*([column[i] for i in order] for column in table), normalization=normalization)
    atol = [tolerances(*table, normalization)[i] for i in order]
    assert_close(got, advantages_of(*table, normalization=normalization)[list(order)].tolist(), atol=atol)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@given(table=tables(), extra=st.integers(1, 4))
def test_advantages_do_not_see_padding_and_are_zero_there(normalization, table, extra):
    values, mask, success, sets = table
    padded = advantages_of(
        [r + [NAN] * extra for r in values],
        [r + [0] * extra for r in mask],
        success,
        sets,
        normalization=normalization,
    )
    width = len(mask[0])
    assert_close(
        padded[:, :width],
        advantages_of(*table, normalization=normalization).tolist(),
        atol=tolerances(*table, normalization),
    )
    assert not padded[:, width:].any()


@given(table=tables())
def test_within_erases_the_outcome(table):
    """Spec 8.1: each class is centred on its own mean, so the advantages of right and of wrong tokens average to 0."""
    _, mask, success, sets = table
    got = advantages_of(*table, normalization="within").tolist()
    for a in set(sets):
        for outcome in (True, False):
            rows = [i for i in range(len(sets)) if sets[i] == a and success[i] == outcome]
            tokens = [got[i][t] for i in rows for t in range(len(mask[i])) if mask[i][t]]
            if tokens:
                limit = tolerances(*table, "within")[rows[0]]
                assert math.fsum(tokens) / len(tokens) == pytest.approx(0.0, abs=limit)


@given(table=tables())
def test_zero_filled_does_not_read_the_other_class_s_rewards(table):
    values, mask, success, sets = table
    changed = [[v if right else v * 7 - 1 for v in row] for row, right in zip(values, success, strict=True)]
    rows = [i for i, right in enumerate(success) if right]
    before, after = advantages_of(*table), advantages_of(changed, mask, success, sets)
    assert torch.equal(before[rows], after[rows])


@given(table=tables())
def test_a_set_is_of_one_outcome_exactly_if_all_its_live_responses_are(table):
    _, mask, success, sets = table
    live = [any(row) for row in mask]
    got = one_outcome(torch.tensor(success), torch.tensor(live), torch.tensor(sets))
    assert got.tolist() == [oracle.token_gated(i, mask, success, sets) for i in range(len(mask))]


def test_an_unknown_normalization_is_an_error_that_lists_the_choices():
    with pytest.raises(ValueError, match=r"^normalization must be one of 'zero_filled', 'joint', 'within'; got 'z'"):
        advantages_of([[1.0]], [[1]], [True], [0], normalization="z")


def test_no_gradient_flows_into_or_out_of_advantages():
    shaped = torch.tensor([[1.0], [-1.0], [-1.2]], requires_grad=True)
    mask, success = torch.ones(3, 1, dtype=torch.bool), torch.tensor([True, False, False])
    assert not normalized_advantages(shaped, mask, success, torch.zeros(3, dtype=torch.long)).requires_grad
