"""The properties that section 9 of the specification holds GTPO to, by their numbers there."""

import dataclasses
import math

import oracle
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    AXIS,
    COEFFICIENT,
    GROUP_ID,
    GTPO_OPTIONS,
    MEAN,
    NAN,
    NORMALIZING,
    SCOPE,
    assert_close,
    batches,
    by_hand,
    token_tolerances,
)

from entroshape import GTPO, Rollouts


def assert_conserved(batch, shaped, scope, total):
    """Proposition 2.2: every column of every class sums to (a1 + a2) times its live responses."""
    sets = oracle.sets_of(batch.group, scope)
    for a in set(sets):
        for sign, outcome in ((1, True), (-1, False)):
            for t in range(batch.width):
                rows = [
                    i for i in range(batch.size) if sets[i] == a and batch.success[i] == outcome and batch.mask[i][t]
                ]
                assert shaped[rows, t].sum().item() == pytest.approx(sign * total * len(rows), rel=2e-5, abs=1e-6)


@given(batch=batches(), alpha1=COEFFICIENT, alpha2=COEFFICIENT, scope=SCOPE)
def test_1_conservation_of_rewards_in_every_column(batch, alpha1, alpha2, scope):
    shaped = GTPO(alpha1=alpha1, alpha2=alpha2, comparison_scope=scope).shaped_rewards(batch.rollouts())
    assert_conserved(batch, shaped, scope, alpha1 + alpha2)


@given(batch=batches(), seed=st.integers(0, 2**31), scope=SCOPE)
def test_1_conservation_of_rewards_under_the_random_control(batch, seed, scope):
    method = GTPO(signal="random", comparison_scope=scope)
    assert_conserved(batch, method.shaped_rewards(batch.rollouts(), torch.Generator().manual_seed(seed)), scope, 1.1)


@pytest.mark.parametrize("axis", ["row", "matrix"])
@given(batch=batches(), scope=SCOPE)
def test_1_conservation_of_rewards_over_the_whole_set_for_the_other_axes(axis, batch, scope):
    shaped = GTPO(axis=axis, comparison_scope=scope).shaped_rewards(batch.rollouts())
    sets = oracle.sets_of(batch.group, scope)
    for a in set(sets):
        for sign, outcome in ((1, True), (-1, False)):
            rows = [i for i in range(batch.size) if sets[i] == a and batch.success[i] == outcome]
            tokens = sum(sum(batch.mask[i]) for i in rows)
            assert shaped[rows].sum().item() == pytest.approx(sign * 1.1 * tokens, rel=2e-5, abs=1e-6)


@given(
    batch=batches(mixed=True),
    alpha1=st.sampled_from([0.5, 0.9, 1.0]),
    normalization=st.sampled_from(["zero_filled", "joint"]),
)
def test_2_without_entropy_term_it_is_the_token_mean_baselined_grpo(batch, alpha1, normalization):
    got = GTPO(alpha1=alpha1, alpha2=0.0, normalization=normalization).advantages(batch.rollouts())
    for a in set(batch.group):
        rows = [i for i in range(batch.size) if batch.group[i] == a]
        right = sum(sum(batch.mask[i]) for i in rows if batch.success[i])
        n = sum(sum(batch.mask[i]) for i in rows)
        p, bessel = right / n, math.sqrt((n - 1) / n)
        for i in rows:
            value = math.sqrt((1 - p) / p) if batch.success[i] else -math.sqrt(p / (1 - p))
            assert_close(got[i], [bessel * value * m for m in batch.mask[i]], atol=2e-5)


@given(batch=batches(), mean=MEAN, scope=SCOPE, value=st.floats(0.0, 8.0, width=32))
def test_3_equal_entropies_in_a_column_leave_its_shaped_rewards_equal(batch, mean, scope, value):
    batch = batch.with_entropies([[value + t for t in range(batch.width)]] * batch.size)
    shaped = GTPO(mean=mean, comparison_scope=scope).shaped_rewards(batch.rollouts())
    assert_close(
        shaped, [[(1.1 if r else -1.1) * m for m in row] for r, row in zip(batch.rewards, batch.mask, strict=True)]
    )


@given(
    batch=batches(mixed=True),
    alpha2=st.sampled_from([0.05, 0.1, 0.5, 1.0]),
    axis=AXIS,
    comparison_scope=SCOPE,
    normalization_scope=SCOPE,
)
def test_4_signs_agree_with_outcomes_within_the_bounds(batch, alpha2, axis, comparison_scope, normalization_scope):
    # The mean weight of every normalisation set must be 1: its comparison sets lie inside of it.
    assume(axis == "row" or comparison_scope == "group" or normalization_scope == "batch")
    method = GTPO(alpha2=alpha2, axis=axis, comparison_scope=comparison_scope, normalization_scope=normalization_scope)
    got = method.advantages(batch.rollouts())
    bound = 1 / (1 + alpha2) - 1e-4
    sets = oracle.sets_of(batch.group, normalization_scope)
    for i in range(batch.size):
        rows = [k for k in range(batch.size) if sets[k] == sets[i]]
        share = sum(sum(batch.mask[k]) for k in rows if batch.success[k] == batch.success[i]) / sum(
            sum(batch.mask[k]) for k in rows
        )
        if share < bound:
            own = got[i][torch.tensor(batch.mask[i]) == 1]
            assert bool((own > 0).all() if batch.success[i] else (own < 0).all())


def test_4_outside_the_bound_a_certain_token_of_a_right_answer_can_lose():
    entropies = [[0.0, 4.0]] + [[4.0, 4.0]] * 18 + [[1.0, 1.0]]
    got = GTPO().advantages(by_hand(entropies, [1.0] * 19 + [0.0]).rollouts())  # p = 0.95 > 1 / 1.1
    assert got[0, 0].item() < 0 < got[1, 0].item()


@given(batch=batches(rewards="graded"), options=st.fixed_dictionaries(GTPO_OPTIONS), data=st.data())
def test_5_permuting_the_responses_permutes_the_result(batch, options, data):
    order = data.draw(st.permutations(range(batch.size)))
    method = GTPO(**options)
    whole, permuted = method.assign(batch.rollouts()), method.assign(batch.take(order).rollouts())
    assert_close(permuted.shaped_rewards, whole.shaped_rewards[list(order)].tolist())
    success = oracle.successes(batch.rewards, options["success_threshold"])
    atol = token_tolerances(batch, whole.shaped_rewards.tolist(), success, **{k: options[k] for k in NORMALIZING})
    assert_close(permuted.advantages, whole.advantages[list(order)].tolist(), atol=[2 * atol[i] for i in order])
    assert torch.equal(permuted.gated, whole.gated[list(order)])


@given(batch=batches(), axis=AXIS, extra=st.integers(1, 5))
def test_5_padding_changes_nothing(batch, axis, extra):
    method = GTPO(axis=axis)
    whole, padded = method.assign(batch.rollouts()), method.assign(batch.padded(extra).rollouts())
    assert_close(padded.shaped_rewards[:, : batch.width], whole.shaped_rewards.tolist())
    atol = token_tolerances(batch, whole.shaped_rewards.tolist(), batch.success)
    assert_close(padded.advantages[:, : batch.width], whole.advantages.tolist(), atol=atol)
    assert not padded.advantages[:, batch.width :].any()


@given(batch=batches(), axis=AXIS)
def test_5_a_group_gets_the_same_credit_alone_as_among_others(batch, axis):
    method = GTPO(axis=axis)
    whole = method.assign(batch.rollouts())
    for a in set(batch.group):
        rows = [i for i in range(batch.size) if batch.group[i] == a]
        alone = method.assign(batch.take(rows).rollouts())
        assert_close(alone.shaped_rewards, whole.shaped_rewards[rows].tolist())
        atol = token_tolerances(batch, whole.shaped_rewards.tolist(), batch.success)
        assert_close(alone.advantages, whole.advantages[rows].tolist(), atol=[atol[i] for i in rows])


@given(batch=batches(), data=st.data())
def test_5_group_ids_are_names_only(batch, data):
    names = data.draw(st.lists(GROUP_ID, min_size=3, max_size=3, unique=True))
    known = sorted(set(batch.group))
    renamed = dataclasses.replace(batch, group=[names[known.index(a)] for a in batch.group])
    assert_close(GTPO().shaped_rewards(renamed.rollouts()), GTPO().shaped_rewards(batch.rollouts()).tolist())


def test_6_no_gradient_flows_through_entropies_or_rewards():
    entropies = torch.tensor([[1.0, 2.0], [3.0, 1.0]], requires_grad=True)
    rewards = torch.tensor([1.0, 0.0], requires_grad=True)
    credit = GTPO().assign(
        Rollouts(rewards=rewards, entropies=entropies, mask=torch.ones(2, 2), group=torch.zeros(2, dtype=torch.long))
    )
    assert not credit.advantages.requires_grad
    assert not credit.shaped_rewards.requires_grad


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@given(batch=batches(entropy=st.floats(0.015625, 4.0, width=32)), data=st.data())
def test_7_scaling_the_entropies_of_a_comparison_set_changes_nothing(mean, batch, data):
    factors = {
        (a, outcome, t): data.draw(st.floats(0.25, 4.0))
        for a in sorted(set(batch.group))
        for outcome in (True, False)
        for t in range(batch.width)
    }
    scaled = batch.with_entropies(
        [
            [h * factors[batch.group[i], batch.success[i], t] for t, h in enumerate(row)]
            for i, row in enumerate(batch.entropies)
        ]
    )
    method = GTPO(mean=mean)
    assert_close(method.shaped_rewards(scaled.rollouts()), method.shaped_rewards(batch.rollouts()).tolist(), atol=1e-5)


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(by_hand([[0.0] * 3] * 4, [1.0, 1.0, 0.0, 0.0]), id="all entropies 0"),
        pytest.param(by_hand([[0.0, 9.0], [9.0, 0.0]], [0.0, 1.0]), id="0 beside 9"),
        pytest.param(by_hand([[0.0, 1e4], [1e4, 0.0], [0.0, 0.0]], [0.0, 0.0, 1.0]), id="0 beside 10000"),
        pytest.param(by_hand([[1.0, 2.0]], [1.0]), id="one response"),
        pytest.param(by_hand([[1.0]], [0.0]), id="one token"),
        pytest.param(by_hand([[1.0], [2.0]], [1.0, 0.0]), id="T = 1"),
        pytest.param(by_hand([[1.0, 2.0]] * 3, [1.0] * 3), id="all right"),
        pytest.param(by_hand([[1.0, 2.0]] * 3, [0.0] * 3), id="all wrong"),
        pytest.param(by_hand([[NAN, NAN]] * 3, [1.0, 0.0, 0.0], [[0, 0]] * 3), id="all empty"),
        pytest.param(by_hand([[NAN], [1.0]], [1.0, 0.0], [[0], [1]]), id="the only success is empty"),
    ],
)
@pytest.mark.parametrize("axis", ["column", "row", "matrix"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("normalization", ["zero_filled", "joint", "within"])
@pytest.mark.parametrize("gate", [True, False])
def test_8_extreme_input_gives_finite_output(batch, axis, mean, normalization, gate):
    for dtype in (torch.float32, torch.bfloat16):
        credit = GTPO(axis=axis, mean=mean, normalization=normalization, gate=gate).assign(batch.rollouts(dtype))
        assert bool(credit.shaped_rewards.isfinite().all())
        assert bool(credit.advantages.isfinite().all())
        assert not credit.advantages[torch.tensor(batch.mask) == 0].any()


def test_8_a_batch_without_columns_gives_empty_results():
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0]),
        entropies=torch.zeros(2, 0),
        mask=torch.zeros(2, 0),
        group=torch.zeros(2, dtype=torch.long),
    )
    assert GTPO().advantages(rollouts).shape == (2, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@given(batch=batches())
def test_8_any_float_dtype_gives_the_float32_result_of_the_same_values(dtype, batch):
    rollouts = batch.rollouts(dtype)
    plain = batch.tensors(dtype)
    plain = Rollouts(**{k: v.float() if v.is_floating_point() else v for k, v in plain.items()})
    got = GTPO().advantages(rollouts)
    assert got.dtype == torch.float32
    assert torch.equal(got, GTPO().advantages(plain))
