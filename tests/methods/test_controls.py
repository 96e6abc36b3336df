"""The controls of GRPO-S, failures weighted by the entropy itself, and DAPO with the sequence mean."""

import dataclasses

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    COEFFICIENT,
    GRPO_S_SHAPING,
    GTPO_SHAPING,
    MEAN,
    NAN,
    assert_close,
    batches,
    by_hand,
    token_tolerances,
)

from entroshape import DAPO, GRPOS, GTPO, build_method
from entroshape.methods.shaping import permuted_within

# --- grpo_s_uniform


@given(batch=batches(), beta1=COEFFICIENT, beta2=COEFFICIENT)
def test_uniform_weights_give_every_completion_the_same_shaped_reward_whatever_its_entropies(batch, beta1, beta2):
    got = build_method("grpo_s_uniform", {"beta1": beta1, "beta2": beta2}).shaped_rewards(batch.rollouts())
    assert_close(got, [(beta1 + beta2) * (1 if right else -1) for right in batch.success])


@given(batch=batches())
def test_uniform_weights_are_grpo_s_without_the_entropy_term(batch):
    uniform = build_method("grpo_s_uniform")
    assert_close(
        uniform.advantages(batch.rollouts()), GRPOS(beta2=0.0).advantages(batch.rollouts()).tolist(), atol=2e-5
    )
    assert uniform.surrogate == GRPOS().surrogate
    assert uniform.needs == frozenset()


# --- grpo_s_random


@given(batch=batches(), mean=MEAN, hbar=MEAN, seed=st.integers(0, 1000))
def test_random_weights_are_those_of_the_completions_mean_entropies_permuted(batch, mean, hbar, seed):
    """Equal to the oracle on completions of one token, which has the mean entropy of another one."""
    rollouts = batch.rollouts()
    own = oracle.sequence_entropies(oracle.clipped_entropies(batch.entropies, batch.mask), batch.mask, hbar)
    live = torch.tensor([[value is not None] for value in own])
    values = torch.tensor([[NAN if value is None else value] for value in own], dtype=torch.float64)
    permuted = permuted_within(values, live, rollouts.group, torch.Generator().manual_seed(seed))
    expected = oracle.grpo_s_shaped(batch.rewards, permuted.tolist(), live.long().tolist(), batch.group, mean=mean)
    control = build_method("grpo_s_random", {"mean": mean, "sequence_entropy_mean": hbar})
    assert_close(control.shaped_rewards(rollouts, torch.Generator().manual_seed(seed)), expected)


@given(batch=batches(), scope=st.sampled_from(["group", "batch"]), seed=st.integers(0, 1000))
def test_the_permutation_keeps_the_values_of_a_scope(batch, scope, seed):
    """With beta1 = 0 and every completion a success, weights are the values over their mean."""
    batch = dataclasses.replace(batch, rewards=[1.0] * batch.size)
    options = {"beta1": 0.0, "beta2": 1.0, "comparison_scope": scope}
    shuffled = build_method("grpo_s_random", options)
    got = shuffled.shaped_rewards(batch.rollouts(), torch.Generator().manual_seed(seed))
    plain = GRPOS(**options).shaped_rewards(batch.rollouts())
    sets = oracle.sets_of(batch.group, scope)
    for one in set(sets):
        rows = [i for i in range(batch.size) if sets[i] == one]
        assert_close(got[rows].sort().values, plain[rows].sort().values.tolist())


def test_the_entropies_do_move_from_completion_to_completion_and_the_seed_decides_where():
    batch = by_hand([[float(i + 1)] * 2 for i in range(8)], [1.0] * 8)
    control = build_method("grpo_s_random")
    first, again, other = (
        control.shaped_rewards(batch.rollouts(), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, GRPOS().shaped_rewards(batch.rollouts()))


@given(batch=batches(), seed=st.integers(0, 100))
def test_weights_of_an_outcome_still_sum_to_its_completions(batch, seed):
    control = build_method("grpo_s_random", {"beta1": 0.0, "beta2": 1.0})
    got = control.shaped_rewards(batch.rollouts(), torch.Generator().manual_seed(seed))
    for prompt in set(batch.group):
        for sign, outcome in ((1, True), (-1, False)):
            rows = [i for i in range(batch.size) if batch.group[i] == prompt and batch.success[i] == outcome]
            assert got[rows].double().sum().item() == pytest.approx(sign * len(rows), rel=2e-5)


# --- failure_signal


@given(batch=batches(rewards="graded"), options=st.fixed_dictionaries(GTPO_SHAPING))
def test_failures_by_h_match_the_oracle(batch, options):
    options = {**options, "alpha2": options["alpha2"] or 0.3, "failure_signal": "direct"}
    assert_close(GTPO(**options).shaped_rewards(batch.rollouts()), oracle.gtpo_shaped(*batch.lists(), **options))


@given(batch=batches())
def test_failures_by_h_leave_the_rewards_of_successes_as_they_are(batch):
    plain, direct = (GTPO(failure_signal=each).shaped_rewards(batch.rollouts()) for each in ("inverse", "direct"))
    right = torch.tensor(batch.success)
    assert torch.equal(plain[right], direct[right])


@given(batch=batches(), alpha2=st.sampled_from([0.1, 0.5, 1.0]))
def test_failures_by_h_keep_the_sum_of_a_column(batch, alpha2):
    got = GTPO(alpha2=alpha2, failure_signal="direct").shaped_rewards(batch.rollouts())
    for prompt in set(batch.group):
        rows = [i for i in range(batch.size) if batch.group[i] == prompt and not batch.success[i]]
        for t in range(batch.width):
            live = sum(batch.mask[i][t] for i in rows)
            assert got[rows, t].double().sum().item() == pytest.approx(-(1 + alpha2) * live, rel=2e-5, abs=1e-6)


def test_an_uncertain_token_of_a_failure_loses_more_and_a_confident_one_less():
    batch = by_hand([[0.1], [2.0], [1.0]], [0.0, 0.0, 1.0])
    confident, uncertain, _ = GTPO(failure_signal="direct").advantages(batch.rollouts())[:, 0].tolist()
    assert uncertain < confident < 0


@given(batch=batches(mixed=True), seed=st.integers(0, 100))
def test_advantages_of_failures_by_h_match_the_oracle(batch, seed):
    got = GTPO(failure_signal="direct").advantages(batch.rollouts())
    shaped = oracle.gtpo_shaped(*batch.lists(), failure_signal="direct")
    atol = token_tolerances(batch, shaped, batch.success)
    assert_close(got, oracle.token_advantages(shaped, batch.mask, batch.success, batch.group), atol=atol)


@pytest.mark.parametrize("options", [{"signal": "uniform"}, {"alpha2": 0.0}])
def test_failures_by_h_are_refused_where_they_would_change_nothing(options):
    GTPO(**options)
    with pytest.raises(ValueError, match=r"^failure_signal has no effect .*expected 'inverse', got 'direct'"):
        GTPO(**options, failure_signal="direct")


def test_an_unknown_failure_signal_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"^failure_signal must .*inverse.*direct.*got 'entropy'"):
        GTPO(failure_signal="entropy")


# --- DAPO with the sequence mean


def test_dapo_with_the_sequence_mean_differs_from_dapo_in_the_aggregation_alone():
    method = DAPO(aggregation="sequence_mean")
    assert method.surrogate == dataclasses.replace(DAPO().surrogate, aggregation="sequence_mean")
    batch = by_hand([[1.0] * 3] * 3, [1.0, 0.0, 0.0], [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    assert torch.equal(method.advantages(batch.rollouts()), DAPO().advantages(batch.rollouts()))


@pytest.mark.parametrize("value", ["constant", "mean", None])
def test_an_aggregation_that_needs_a_constant_or_does_not_exist_is_an_error(value):
    with pytest.raises(ValueError, match=r"^aggregation must .*token_mean.*sequence_mean.*got"):
        DAPO(aggregation=value)


@given(batch=batches(), options=st.fixed_dictionaries(GRPO_S_SHAPING), seed=st.integers(0, 100))
def test_every_control_of_grpo_s_is_grpo_s_with_that_signal(batch, options, seed):
    rollouts = batch.rollouts()
    for signal in ("uniform", "random"):
        allowed = options if signal == "random" else {"beta1": options["beta1"], "beta2": options["beta2"]}
        named = build_method(f"grpo_s_{signal}", allowed).assign(rollouts, torch.Generator().manual_seed(seed))
        plain = GRPOS(signal=signal, **allowed).assign(rollouts, torch.Generator().manual_seed(seed))
        assert torch.equal(named.advantages, plain.advantages)
