"""GRPO, DAPO, DAPO on forking tokens, and the named controls."""

import dataclasses
import math

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAN, Batch, assert_close, batches, by_hand, standardising_tolerance

from entroshape import DAPO, GRPO, GTPO, METHODS, ForkingTokens, Rollouts, SoftOverlong


def tolerances(batch, rewards):
    return [
        standardising_tolerance([rewards[k] for k in range(batch.size) if batch.group[k] == batch.group[i]])
        for i in range(batch.size)
    ]


def one_group(rewards, entropies=None):
    return by_hand([[1.0]] * len(rewards) if entropies is None else entropies, rewards)


# --- GRPO


@given(batch=batches(rewards="graded"))
def test_grpo_matches_the_oracle_on_raw_rewards(batch):
    credit = GRPO().assign(batch.rollouts())
    assert_close(
        credit.advantages, oracle.grpo_advantages(batch.rewards, batch.group), atol=tolerances(batch, batch.rewards)
    )
    assert_close(credit.shaped_rewards, batch.rewards)
    assert credit.advantages.shape == (batch.size,)
    assert credit.success.tolist() == batch.success
    assert credit.loss_mask.tolist() == [[m == 1 for m in row] for row in batch.mask]


@pytest.mark.parametrize("method", [GRPO(), DAPO()])
@pytest.mark.parametrize("reward", [0.0, 0.1, 0.7, 1.0, 0.9])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 49])
def test_equal_rewards_give_advantage_zero_by_themselves(method, reward, size):
    assert method.advantages(one_group([reward] * size).rollouts()).tolist() == [0.0] * size


@given(batch=batches(rewards="graded"), data=st.data())
def test_grpo_follows_a_permutation_and_does_not_see_padding(batch, data):
    order = data.draw(st.permutations(range(batch.size)))
    whole = GRPO().advantages(batch.rollouts())
    atol = tolerances(batch, batch.rewards)
    assert_close(
        GRPO().advantages(batch.take(order).padded(2).rollouts()),
        whole[list(order)].tolist(),
        atol=[atol[i] for i in order],
    )


@given(batch=batches(rewards="graded"))
def test_grpo_counts_the_groups_whose_rewards_are_all_equal_as_gated(batch):
    """It has no gate of its own: those are the groups whose advantages are 0."""
    siblings = [{batch.rewards[k] for k in range(batch.size) if batch.group[k] == a} for a in batch.group]
    assert GRPO().assign(batch.rollouts()).gated.tolist() == [len(values) == 1 for values in siblings]


@given(batch=batches(rewards="graded", max_width=8))
def test_grpo_adds_the_punishment_to_the_raw_reward(batch):
    punishment = [oracle.soft_overlong(length, 7, 4) for length in oracle.lengths(batch.mask)]
    rewards = [r + p for r, p in zip(batch.rewards, punishment, strict=True)]
    credit = GRPO(overlong=SoftOverlong(max_length=7, cache=4)).assign(batch.rollouts())
    assert_close(credit.shaped_rewards, rewards)
    assert_close(credit.advantages, oracle.grpo_advantages(rewards, batch.group), atol=tolerances(batch, rewards))


def test_grpo_needs_no_entropies():
    rollouts = one_group([1.0, 0.0]).rollouts(entropies=None)
    assert_close(GRPO().advantages(rollouts), [math.sqrt(0.5), -math.sqrt(0.5)], atol=1e-5)
    assert GRPO().needs == frozenset()


def test_grpo_is_trained_with_one_epsilon_and_the_mean_over_tokens_then_responses():
    surrogate = GRPO().surrogate
    assert (surrogate.ratio, surrogate.aggregation) == ("token", "sequence_mean")
    assert (surrogate.epsilon_low, surrogate.epsilon_high) == (0.2, 0.2)


# --- DAPO


@given(batch=batches(rewards="graded"), threshold=st.sampled_from([0.5, 0.25]), failure=st.sampled_from([-1.0, -0.5]))
def test_dapo_matches_the_oracle_with_minus_one_for_failures(batch, threshold, failure):
    options = {"success_threshold": threshold, "failure_reward": failure}
    rewards = oracle.dapo_rewards(batch.rewards, **options)
    credit = DAPO(**options).assign(batch.rollouts())
    assert_close(credit.shaped_rewards, rewards)
    assert_close(credit.advantages, oracle.grpo_advantages(rewards, batch.group), atol=tolerances(batch, rewards))


@given(batch=batches(rewards="graded", max_width=8))
def test_dapo_adds_the_soft_punishment_to_right_and_wrong_and_decides_success_before(batch):
    punishment = [oracle.soft_overlong(length, 7, 4) for length in oracle.lengths(batch.mask)]
    rewards = oracle.dapo_rewards(batch.rewards, punishment=punishment)
    credit = DAPO(overlong=SoftOverlong(max_length=7, cache=4)).assign(batch.rollouts())
    assert_close(credit.shaped_rewards, rewards)
    assert credit.success.tolist() == batch.success
    assert_close(credit.advantages, oracle.grpo_advantages(rewards, batch.group), atol=tolerances(batch, rewards))


@given(batch=batches())
def test_dapo_has_grpo_s_advantages_on_binary_rewards(batch):
    assert_close(DAPO().advantages(batch.rollouts()), GRPO().advantages(batch.rollouts()).tolist(), atol=2e-5)


def test_dapo_is_trained_with_clip_higher_and_the_token_mean():
    surrogate = DAPO().surrogate
    assert (surrogate.ratio, surrogate.aggregation) == ("token", "token_mean")
    assert (surrogate.epsilon_low, surrogate.epsilon_high) == (0.2, 0.28)


def test_gtpo_without_entropy_term_and_with_equal_lengths_is_dapo():
    generator = torch.Generator().manual_seed(0)
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0]),
        entropies=torch.rand(5, 400, generator=generator),
        mask=torch.ones(5, 400),
        group=torch.zeros(5, dtype=torch.long),
    )
    tokens = GTPO(alpha2=0.0).advantages(rollouts)
    # Bessel's correction counts tokens in one and responses in the other.
    bessel = math.sqrt((1999 / 2000) / (4 / 5))
    assert_close(tokens[:, 0], (DAPO().advantages(rollouts) * bessel).tolist(), atol=1e-5)


# --- forking tokens


@given(batch=batches(), quantile=st.sampled_from([0.05, 0.2, 0.28, 0.5, 0.7, 1.0]))
def test_the_forking_mask_matches_the_oracle(batch, quantile):
    credit = ForkingTokens(quantile=quantile).assign(batch.rollouts())
    expected = oracle.forking_mask(batch.entropies, batch.mask, quantile)
    assert credit.loss_mask.tolist() == [[m == 1 for m in row] for row in expected]
    dapo = DAPO().assign(batch.rollouts())
    assert torch.equal(credit.advantages, dapo.advantages)
    assert torch.equal(credit.shaped_rewards, dapo.shaped_rewards)


@pytest.mark.parametrize(
    ("quantile", "tokens", "kept"),
    [
        (0.2, 5, 1),
        (0.2, 6, 2),
        (0.2, 100, 20),
        (0.28, 100, 28),
        (0.07, 100, 7),
        (0.55, 100, 55),
        (1.0, 9, 9),
        (1e-9, 9, 1),
    ],
)
def test_the_forking_mask_keeps_the_ceiling_of_the_share(quantile, tokens, kept):
    batch = one_group([1.0], [[0.01 * t for t in range(tokens)]])
    mask = ForkingTokens(quantile=quantile).assign(batch.rollouts()).loss_mask
    assert mask.sum().item() == kept
    assert bool(mask[0, -kept:].all())


def test_the_forking_mask_keeps_ties():
    batch = one_group([1.0, 0.0], [[2.0, 1.0, 1.0], [1.0, 0.5, 0.0]])
    assert ForkingTokens(quantile=0.3).assign(batch.rollouts()).loss_mask.tolist() == [[True] * 3, [True, False, False]]


def test_the_forking_mask_is_taken_over_the_whole_batch_and_not_per_group():
    batch = dataclasses.replace(one_group([1.0, 0.0], [[5.0, 4.0], [0.5, 0.1]]), group=[0, 1])
    assert ForkingTokens(quantile=0.5).assign(batch.rollouts()).loss_mask.tolist() == [[True, True], [False, False]]


def test_the_loss_on_forking_tokens_and_its_token_count_leave_the_others_out():
    batch = one_group([1.0, 0.0], [[2.0, 0.1], [1.0, 0.2]])
    method = ForkingTokens(quantile=0.5)
    credit = method.assign(batch.rollouts())
    new = torch.zeros(2, 2, requires_grad=True)
    loss, _ = method.surrogate(new, torch.zeros(2, 2), torch.tensor([3.0, 1.0]), credit.loss_mask)
    loss.backward()
    assert loss.item() == -2.0
    assert new.grad.tolist() == [[-1.5, 0.0], [-0.5, 0.0]]


@given(batch=batches(), extra=st.integers(1, 4))
def test_the_forking_mask_does_not_see_padding(batch, extra):
    padded = ForkingTokens().assign(batch.padded(extra).rollouts()).loss_mask
    assert torch.equal(padded[:, : batch.width], ForkingTokens().assign(batch.rollouts()).loss_mask)
    assert not padded[:, batch.width :].any()


def test_forking_tokens_of_a_batch_without_tokens_are_none():
    batch = Batch([1.0, 0.0], [[NAN], [NAN]], [[0], [0]], [0, 0], [[NAN], [NAN]])
    assert not ForkingTokens().assign(batch.rollouts()).loss_mask.any()


def test_forking_tokens_without_entropies_are_an_error():
    with pytest.raises(ValueError, match=r"^entropies must .*got None"):
        ForkingTokens().assign(one_group([1.0, 0.0]).rollouts(entropies=None))


# --- the named controls


@pytest.mark.parametrize("signal", ["uniform", "surprisal", "random"])
@given(batch=batches(), seed=st.integers(0, 1000))
def test_a_named_control_is_gtpo_with_that_signal(signal, batch, seed):
    rollouts = batch.rollouts(logprobs=True)
    named = METHODS[f"gtpo_{signal}"]().assign(rollouts, torch.Generator().manual_seed(seed))
    plain = GTPO(signal=signal).assign(rollouts, torch.Generator().manual_seed(seed))
    assert torch.equal(named.advantages, plain.advantages)
    assert torch.equal(named.shaped_rewards, plain.shaped_rewards)


@given(batch=batches(mixed=True))
def test_the_uniform_control_is_the_token_mean_baseline_whatever_the_entropies(batch):
    uniform = METHODS["gtpo_uniform"]().advantages(batch.rollouts())
    assert_close(uniform, GTPO(alpha2=0.0).advantages(batch.rollouts()).tolist(), atol=2e-5)


# --- bad input


@pytest.mark.parametrize("method", [GRPO, DAPO, ForkingTokens])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("success_threshold", NAN),
        ("overlong", (10, 4)),
        ("epsilon_low", 0.0),
        ("epsilon_low", -0.2),
        ("epsilon_high", 0.0),
        ("epsilon_high", NAN),
    ],
)
def test_an_option_value_out_of_range_is_an_error_that_names_it(method, name, value):
    with pytest.raises(ValueError, match=f"^{name} must .*got"):
        method(**{name: value})


@pytest.mark.parametrize("method", [DAPO, ForkingTokens])
def test_a_failure_reward_that_is_not_finite_is_an_error(method):
    with pytest.raises(ValueError, match=r"^failure_reward must .*got"):
        method(failure_reward=-math.inf)


@pytest.mark.parametrize("quantile", [0.0, -0.1, 1.1, NAN, "0.2"])
def test_a_quantile_outside_zero_to_one_is_an_error(quantile):
    with pytest.raises(ValueError, match=r"^quantile must .*got"):
        ForkingTokens(quantile=quantile)
