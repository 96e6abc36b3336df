"""OPO: the length-weighted baseline against the oracle, its properties, and its kinship with GTPO."""

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAN, assert_close, batches, by_hand

from entroshape import OPO, SoftOverlong, build_method


@given(batch=batches(rewards="graded"))
def test_advantages_match_the_oracle(batch):
    credit = OPO().assign(batch.rollouts())
    assert_close(credit.advantages, oracle.opo_advantages(batch.rewards, batch.mask, batch.group))
    assert_close(credit.shaped_rewards, batch.rewards)
    assert credit.success.tolist() == batch.success
    assert credit.loss_mask.tolist() == [[m == 1 for m in row] for row in batch.mask]


@given(batch=batches(rewards="graded"))
def test_over_the_tokens_of_a_group_advantages_sum_to_zero(batch):
    credit = OPO().assign(batch.rollouts()).per_token(batch.rollouts().mask)
    for prompt in set(batch.group):
        rows = [i for i in range(batch.size) if batch.group[i] == prompt]
        assert credit.advantages[rows].double().sum().item() == pytest.approx(0.0, abs=1e-5)


@given(batch=batches(mixed=True, holes=False))
def test_it_is_the_baseline_of_gtpo_uniform_without_the_standard_deviation(batch):
    """In each group the two give proportional advantages."""
    rollouts = batch.rollouts()
    plain = OPO().assign(rollouts).per_token(rollouts.mask).advantages.double()
    scaled = build_method("gtpo_uniform").advantages(rollouts).double()
    for prompt in set(batch.group):
        rows = [i for i in range(batch.size) if batch.group[i] == prompt]
        mine, its = plain[rows].flatten(), scaled[rows].flatten()
        factor = (mine * its).sum() / (mine * mine).sum()
        assert_close(its, (factor * mine).tolist(), atol=1e-4)


def test_a_long_completion_moves_the_baseline_more():
    rewards, mask = [1.0, 0.0], [[1, 0, 0], [1, 1, 1]]
    assert OPO().advantages(by_hand([[1.0] * 3] * 2, rewards, mask).rollouts()).tolist() == [0.75, -0.25]
    assert OPO().advantages(by_hand([[1.0] * 3] * 2, rewards).rollouts()).tolist() == [0.5, -0.5]


@pytest.mark.parametrize("reward", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("lengths", [[1], [1, 5], [3, 7, 49]])
def test_equal_rewards_give_advantage_zero_whatever_the_lengths(reward, lengths):
    mask = [[1] * length + [0] * (max(lengths) - length) for length in lengths]
    credit = OPO().assign(by_hand([[1.0] * max(lengths)] * len(lengths), [reward] * len(lengths), mask).rollouts())
    assert credit.advantages.tolist() == [0.0] * len(lengths)
    assert credit.gated.tolist() == [True] * len(lengths)


def test_an_empty_completion_has_no_weight_and_no_advantage():
    batch = by_hand([[1.0], [1.0], [NAN]], [1.0, 0.0, 1.0], [[1], [1], [0]])
    assert OPO().advantages(batch.rollouts()).tolist() == [0.5, -0.5, 0.0]


@given(batch=batches(rewards="graded"), extra=st.integers(0, 3), data=st.data())
def test_it_follows_a_permutation_and_does_not_see_padding(batch, extra, data):
    order = data.draw(st.permutations(range(batch.size)))
    whole = OPO().advantages(batch.rollouts())
    assert_close(OPO().advantages(batch.take(order).padded(extra).rollouts()), whole[list(order)].tolist())


@given(batch=batches(rewards="graded", max_width=8))
def test_the_overlong_punishment_is_part_of_the_reward(batch):
    punishment = [oracle.soft_overlong(length, 7, 4) for length in oracle.lengths(batch.mask)]
    rewards = [r + p for r, p in zip(batch.rewards, punishment, strict=True)]
    credit = OPO(overlong=SoftOverlong(max_length=7, cache=4)).assign(batch.rollouts())
    assert_close(credit.advantages, oracle.opo_advantages(rewards, batch.mask, batch.group))


def test_it_needs_no_entropies_and_no_gradient_flows_through_rewards():
    rollouts = by_hand([[1.0], [1.0]], [1.0, 0.0]).rollouts(
        entropies=None, rewards=torch.tensor([1.0, 0.0], requires_grad=True)
    )
    assert OPO().needs == frozenset()
    assert not OPO().advantages(rollouts).requires_grad


def test_it_is_trained_with_the_token_ratio_and_the_token_mean():
    surrogate = OPO().surrogate
    assert (surrogate.ratio, surrogate.aggregation) == ("token", "token_mean")
    assert (surrogate.epsilon_low, surrogate.epsilon_high) == (0.2, 0.28)


@pytest.mark.parametrize(("name", "value"), [("epsilon_low", 0.0), ("epsilon_high", NAN), ("overlong", "soft")])
def test_an_option_value_out_of_range_is_an_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=f"^{name} must .*got"):
        OPO(**{name: value})
