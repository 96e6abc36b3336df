"""GRPO-S: sequence-level shaping against the oracle, and the properties that the specification holds it to."""

import dataclasses
import math

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    COEFFICIENT,
    GRPO_S_OPTIONS,
    GRPO_S_SHAPING,
    MEAN,
    NAN,
    NORMALIZING,
    SCOPE,
    assert_close,
    batches,
    by_hand,
    response_tolerances,
)

from entroshape import GRPO, GRPOS, GroupRelativeOverlong, Rollouts

# --- against the oracle


@pytest.mark.parametrize("sequence_entropy_mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@given(batch=batches(rewards="graded"), options=st.fixed_dictionaries(GRPO_S_SHAPING))
def test_shaped_rewards_match_the_oracle(mean, sequence_entropy_mean, batch, options):
    options = {**options, "mean": mean, "sequence_entropy_mean": sequence_entropy_mean}
    assert_close(GRPOS(**options).shaped_rewards(batch.rollouts()), oracle.grpo_s_shaped(*batch.lists(), **options))


@pytest.mark.parametrize("normalization", ["zero_filled", "joint", "within"])
@given(
    batch=batches(rewards="graded"),
    shaping=st.fixed_dictionaries(GRPO_S_SHAPING),
    normalizing=st.fixed_dictionaries({**NORMALIZING, "normalization": st.none()}),
)
@settings(max_examples=settings().max_examples * 5 // 3)
def test_advantages_match_the_oracle(normalization, batch, shaping, normalizing):
    normalizing = {**normalizing, "normalization": normalization}
    success = oracle.successes(batch.rewards, shaping["success_threshold"])
    shaped = oracle.grpo_s_shaped(*batch.lists(), **shaping)
    expected = oracle.response_advantages(shaped, success, batch.group, **normalizing)
    got = GRPOS(**shaping, **normalizing).advantages(batch.rollouts())
    assert_close(got, expected, atol=response_tolerances(batch, shaped, success, **normalizing))


@given(batch=batches())
def test_the_defaults_are_the_specification_s(batch):
    shaped = oracle.grpo_s_shaped(*batch.lists())
    credit = GRPOS().assign(batch.rollouts())
    assert_close(credit.shaped_rewards, shaped)
    assert_close(
        credit.advantages,
        oracle.response_advantages(shaped, batch.success, batch.group),
        atol=response_tolerances(batch, shaped, batch.success),
    )
    assert credit.success.tolist() == batch.success
    assert credit.loss_mask.tolist() == [[m == 1 for m in row] for row in batch.mask]
    assert credit.gated.tolist() == [oracle.response_gated(i, batch.success, batch.group) for i in range(batch.size)]


@given(batch=batches(rewards="graded", max_width=8))
def test_the_punishment_is_added_to_the_base_reward_and_leaves_success_as_it_was(batch):
    punishment = oracle.group_relative_overlong(oracle.lengths(batch.mask), batch.success, batch.group)
    credit = GRPOS(beta1=0.5, overlong=GroupRelativeOverlong()).assign(batch.rollouts())
    assert_close(credit.shaped_rewards, oracle.grpo_s_shaped(*batch.lists(), beta1=0.5, punishment=punishment))
    assert credit.success.tolist() == batch.success


@given(batch=batches())
def test_the_surprisal_control_puts_minus_logprob_in_the_entropy_s_place(batch):
    surprisal = [[-v for v in row] for row in batch.logprobs]
    expected = oracle.grpo_s_shaped(batch.rewards, surprisal, batch.mask, batch.group)
    assert_close(GRPOS(signal="surprisal").shaped_rewards(batch.rollouts(logprobs=True)), expected)


@given(batch=batches())
def test_the_uniform_control_gives_every_response_weight_one(batch):
    got = GRPOS(signal="uniform").shaped_rewards(batch.rollouts())
    assert_close(got, [1.1 if r else -1.1 for r in batch.rewards])


# --- the properties of the specification, section 9


@given(batch=batches(), beta1=COEFFICIENT, beta2=COEFFICIENT, scope=SCOPE, hbar=MEAN)
def test_1_conservation_of_rewards_over_the_responses_empty_ones_included(batch, beta1, beta2, scope, hbar):
    method = GRPOS(beta1=beta1, beta2=beta2, comparison_scope=scope, sequence_entropy_mean=hbar)
    shaped = method.shaped_rewards(batch.rollouts())
    sets = oracle.sets_of(batch.group, scope)
    for a in set(sets):
        for sign, outcome in ((1, True), (-1, False)):
            rows = [i for i in range(batch.size) if sets[i] == a and batch.success[i] == outcome]
            assert shaped[rows].sum().item() == pytest.approx(sign * (beta1 + beta2) * len(rows), rel=2e-5, abs=1e-6)


@given(batch=batches())
def test_2_without_entropy_term_it_is_grpo(batch):
    got = GRPOS(beta2=0.0).advantages(batch.rollouts())
    assert_close(got, GRPO().advantages(batch.rollouts()).tolist(), atol=2e-5)
    assert_close(got, oracle.grpo_advantages(batch.rewards, batch.group), atol=2e-5)


@given(batch=batches(), hbar=MEAN, mean=MEAN)
def test_3_equal_entropies_leave_all_shaped_rewards_of_an_outcome_equal(batch, hbar, mean):
    batch = batch.with_entropies([[0.75] * batch.width] * batch.size)
    got = GRPOS(sequence_entropy_mean=hbar, mean=mean).shaped_rewards(batch.rollouts())
    assert_close(got, [1.1 if r else -1.1 for r in batch.rewards])


@given(batch=batches(), beta2=st.sampled_from([0.05, 0.1, 0.5, 1.0]))
def test_4_signs_agree_with_outcomes_within_the_bounds(batch, beta2):
    got = GRPOS(beta2=beta2).advantages(batch.rollouts()).tolist()
    for i in range(batch.size):
        rows = [k for k in range(batch.size) if batch.group[k] == batch.group[i]]
        share = sum(batch.success[k] == batch.success[i] for k in rows) / len(rows)
        if share < 1 / (1 + beta2) - 1e-4:
            assert got[i] > 0 if batch.success[i] else got[i] < 0


@given(batch=batches(rewards="graded"), options=st.fixed_dictionaries(GRPO_S_OPTIONS), data=st.data())
def test_5_permuting_the_responses_permutes_the_result(batch, options, data):
    order = data.draw(st.permutations(range(batch.size)))
    method = GRPOS(**options)
    whole, permuted = method.assign(batch.rollouts()), method.assign(batch.take(order).rollouts())
    assert_close(permuted.shaped_rewards, whole.shaped_rewards[list(order)].tolist())
    success = oracle.successes(batch.rewards, options["success_threshold"])
    atol = response_tolerances(batch, whole.shaped_rewards.tolist(), success, **{k: options[k] for k in NORMALIZING})
    assert_close(permuted.advantages, whole.advantages[list(order)].tolist(), atol=[2 * atol[i] for i in order])


@given(batch=batches(), extra=st.integers(1, 5))
def test_5_padding_changes_nothing(batch, extra):
    whole, padded = GRPOS().assign(batch.rollouts()), GRPOS().assign(batch.padded(extra).rollouts())
    assert_close(padded.shaped_rewards, whole.shaped_rewards.tolist())
    atol = response_tolerances(batch, whole.shaped_rewards.tolist(), batch.success)
    assert_close(padded.advantages, whole.advantages.tolist(), atol=atol)


@given(batch=batches())
def test_5_a_group_gets_the_same_credit_alone_as_among_others(batch):
    whole = GRPOS().assign(batch.rollouts())
    atol = response_tolerances(batch, whole.shaped_rewards.tolist(), batch.success)
    for a in set(batch.group):
        rows = [i for i in range(batch.size) if batch.group[i] == a]
        alone = GRPOS().assign(batch.take(rows).rollouts())
        assert_close(alone.advantages, whole.advantages[rows].tolist(), atol=[atol[i] for i in rows])


def test_6_no_gradient_flows_through_entropies_or_rewards():
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0], requires_grad=True),
        entropies=torch.tensor([[1.0, 2.0], [3.0, 1.0]], requires_grad=True),
        mask=torch.ones(2, 2),
        group=torch.zeros(2, dtype=torch.long),
    )
    credit = GRPOS().assign(rollouts)
    assert not credit.advantages.requires_grad
    assert not credit.shaped_rewards.requires_grad


@given(batch=batches(entropy=st.floats(0.015625, 4.0, width=32)), hbar=MEAN, mean=MEAN, data=st.data())
def test_7_scaling_the_entropies_of_a_comparison_set_changes_nothing(batch, hbar, mean, data):
    factors = {(a, s): data.draw(st.floats(0.25, 4.0)) for a in sorted(set(batch.group)) for s in (True, False)}
    scaled = batch.with_entropies(
        [[h * factors[batch.group[i], batch.success[i]] for h in row] for i, row in enumerate(batch.entropies)]
    )
    method = GRPOS(sequence_entropy_mean=hbar, mean=mean)
    assert_close(method.shaped_rewards(scaled.rollouts()), method.shaped_rewards(batch.rollouts()).tolist(), atol=1e-5)


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(by_hand([[0.0] * 3] * 4, [1.0, 1.0, 0.0, 0.0]), id="all entropies 0"),
        pytest.param(by_hand([[0.0, 9.0], [9.0, 0.0]], [0.0, 1.0]), id="0 beside 9"),
        pytest.param(by_hand([[0.0], [1e4], [9.0], [0.0]], [0.0, 0.0, 1.0, 1.0]), id="0 beside 10000"),
        pytest.param(by_hand([[1.0, 2.0]], [1.0]), id="one response"),
        pytest.param(by_hand([[1.0]], [0.0]), id="one token"),
        pytest.param(by_hand([[1.0, 2.0]] * 3, [1.0] * 3), id="all right"),
        pytest.param(by_hand([[1.0, 2.0]] * 3, [0.0] * 3), id="all wrong"),
        pytest.param(by_hand([[NAN, NAN]] * 3, [1.0, 0.0, 0.0], [[0, 0]] * 3), id="all empty"),
    ],
)
@pytest.mark.parametrize("normalization", ["zero_filled", "joint", "within"])
@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_8_extreme_input_gives_finite_output(batch, normalization, gate, mean):
    method = GRPOS(normalization=normalization, gate=gate, mean=mean, sequence_entropy_mean=mean)
    for dtype in (torch.float32, torch.bfloat16):
        credit = method.assign(batch.rollouts(dtype))
        assert bool(credit.shaped_rewards.isfinite().all())
        assert bool(credit.advantages.isfinite().all())


def test_8_a_batch_without_columns_is_a_batch_of_empty_responses():
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0]),
        entropies=torch.zeros(2, 0),
        mask=torch.zeros(2, 0),
        group=torch.zeros(2, dtype=torch.long),
    )
    assert_close(GRPOS().shaped_rewards(rollouts), [1.1, -1.1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@given(batch=batches())
def test_8_any_float_dtype_gives_the_float32_result_of_the_same_values(dtype, batch):
    plain = Rollouts(**{k: v.float() if v.is_floating_point() else v for k, v in batch.tensors(dtype).items()})
    got = GRPOS().advantages(batch.rollouts(dtype))
    assert got.dtype == torch.float32
    assert torch.equal(got, GRPOS().advantages(plain))


# --- the readings of section 8


def test_an_empty_response_is_neutral_takes_part_and_counts_for_the_gate():
    batch = by_hand([[1.0], [3.0], [NAN]], [1.0, 1.0, 0.0], [[1], [1], [0]])
    credit = GRPOS().assign(batch.rollouts())
    assert_close(credit.shaped_rewards, [1.05, 1.15, -1.1])
    assert credit.gated.tolist() == [False] * 3
    assert credit.advantages[2].item() < 0 < credit.advantages[0].item()


def test_within_erases_the_outcome():
    equal = by_hand([[0.5], [0.5], [0.5], [0.5]], [1.0, 1.0, 0.0, 0.0])
    assert not GRPOS(normalization="within").advantages(equal.rollouts()).any()
    batch = by_hand([[0.5], [1.0], [2.0], [0.5], [1.0], [2.0]], [1.0] * 3 + [0.0] * 3)
    right, wrong = GRPOS(normalization="within").advantages(batch.rollouts()).reshape(2, 3)
    assert right.sum().item() == pytest.approx(0.0, abs=1e-5)
    assert wrong.sum().item() == pytest.approx(0.0, abs=1e-5)
    assert bool((right.diff() > 0).all() and (wrong.diff() > 0).all())


@given(batch=batches(rewards="graded"), normalization=NORMALIZING["normalization"], scope=SCOPE)
def test_the_gate_silences_exactly_the_sets_of_one_outcome(batch, normalization, scope):
    options = {"normalization": normalization, "normalization_scope": scope}
    gated, open_ = GRPOS(**options).assign(batch.rollouts()), GRPOS(**options, gate=False).assign(batch.rollouts())
    sets = oracle.sets_of(batch.group, scope)
    expected = [oracle.response_gated(i, batch.success, sets) for i in range(batch.size)]
    assert gated.gated.tolist() == expected
    for i, silent in enumerate(expected):
        assert gated.advantages[i].item() == (0.0 if silent else open_.advantages[i].item())


def test_a_confident_mistake_loses_more_and_an_exploring_success_earns_more():
    batch = by_hand([[0.1, 0.1], [2.0, 2.0], [0.1, 0.1], [2.0, 2.0]], [1.0, 1.0, 0.0, 0.0])
    sure_right, unsure_right, sure_wrong, unsure_wrong = GRPOS().advantages(batch.rollouts()).tolist()
    assert sure_wrong < unsure_wrong < 0 < sure_right < unsure_right


# --- bad input


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta1", -0.1),
        ("beta1", NAN),
        ("beta2", -1),
        ("beta2", math.inf),
        ("normalization", "per_class"),
        ("comparison_scope", "prompt"),
        ("normalization_scope", "global"),
        ("mean", "harmonic"),
        ("sequence_entropy_mean", "max"),
        ("signal", "entropies"),
        ("ratio", "token"),
        ("ratio", "arithmetic"),
        ("entropy_clip", (0.3, 0.2)),
        ("entropy_floor", 0.0),
        ("gate", 1),
        ("overlong", "soft"),
        ("epsilon_low", 0.0),
        ("epsilon_high", -0.28),
    ],
)
def test_an_option_value_out_of_range_is_an_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=rf"^{name}.*must .*got"):
        GRPOS(**{name: value})


def test_options_are_keyword_only_and_frozen():
    with pytest.raises(TypeError):
        GRPOS(1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        GRPOS().beta2 = 0.5


@pytest.mark.parametrize("ratio", ["sequence_arithmetic", "sequence_geometric"])
def test_the_objective_is_equation_10(ratio):
    surrogate = GRPOS(ratio=ratio).surrogate
    assert (surrogate.ratio, surrogate.aggregation) == (ratio, "sequence_mean")
    assert (surrogate.epsilon_low, surrogate.epsilon_high) == (0.2, 0.28)


def test_the_loss_at_ratio_one_is_minus_the_mean_advantage_over_responses():
    batch = by_hand([[0.1, 0.1], [2.0, NAN], [0.1, 0.1]], [1.0, 1.0, 0.0], [[1, 1], [1, 0], [1, 1]])
    rollouts = batch.rollouts()
    advantages = GRPOS().advantages(rollouts)
    loss, _ = GRPOS().surrogate(torch.zeros(3, 2), torch.zeros(3, 2), advantages, rollouts.mask)
    assert loss.item() == pytest.approx(-advantages.mean().item(), abs=1e-7)
