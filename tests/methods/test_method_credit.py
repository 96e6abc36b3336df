"""What every method's credit offers: the same two matrices whatever the method, and one answer to what a success is."""

import pytest
import torch
from hypothesis import given
from strategies import batches

from entroshape import DAPO, GRPO, GTPO, METHODS, Rollouts
from entroshape.methods import build_method


@pytest.mark.parametrize("name", METHODS)
@given(batch=batches(rewards="graded"))
def test_credit_per_token_is_a_matrix_whatever_the_method(name, batch):
    credit = build_method(name).assign(batch.rollouts(logprobs=True), torch.Generator().manual_seed(0))
    mask = torch.tensor(batch.mask).reshape(batch.size, batch.width)
    for given_mask in (mask, mask.bool()):
        spread = credit.per_token(given_mask)
        for field in ("shaped_rewards", "advantages"):
            whole, own = getattr(spread, field), getattr(credit, field)
            assert whole.shape == mask.shape
            assert not whole[mask == 0].any()
            for i in range(batch.size):
                expected = own[i] if own.ndim == 2 else own[i].expand(batch.width)
                assert torch.equal(whole[i][mask[i] == 1], expected[mask[i] == 1])
    assert torch.equal(spread.success, credit.success)
    assert torch.equal(spread.loss_mask, credit.loss_mask)


@pytest.mark.parametrize("name", METHODS)
@given(batch=batches(rewards="graded", mixed=True))
def test_weights_give_the_shaped_rewards_together_with_the_outcome(name, batch):
    rollouts = batch.rollouts(logprobs=True)
    credit = build_method(name).assign(rollouts, torch.Generator().manual_seed(0))
    weights = credit.weights(rollouts.mask)
    if not name.startswith(("gtpo", "grpo_s")):
        assert weights is None
        return
    sign = torch.where(credit.success, 1.0, -1.0)[:, None]
    shaped = credit.outcome_rewards[:, None] + credit.coefficient * sign * weights
    expected = credit.per_token(rollouts.mask).shaped_rewards
    torch.testing.assert_close(torch.where(rollouts.mask, shaped, 0.0), expected, rtol=1e-5, atol=1e-6)
    assert not weights[~rollouts.mask].any()
    if name.startswith("gtpo"):  # a column of one outcome sums to its tokens
        for prompt in set(batch.group):
            for outcome in (True, False):
                rows = [i for i in range(batch.size) if batch.group[i] == prompt and batch.success[i] == outcome]
                tokens = rollouts.mask[rows].sum(dim=0).double()
                torch.testing.assert_close(weights[rows].double().sum(dim=0), tokens, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [GTPO(alpha2=0.0), GRPO(), DAPO()])
def test_a_method_that_weighs_nothing_has_no_weights(method):
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0]),
        entropies=torch.ones(2, 1),
        mask=torch.ones(2, 1),
        group=torch.zeros(2, dtype=torch.long),
    )
    assert method.assign(rollouts).weights(rollouts.mask) is None


@pytest.mark.parametrize("method", [GTPO(), GRPO()])
def test_taking_completions_and_spreading_over_tokens_commute(method):
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0, 1.0, 0.0]),
        entropies=torch.arange(1.0, 13.0).reshape(4, 3),
        mask=torch.ones(4, 3),
        group=torch.tensor([0, 0, 1, 1]),
    )
    credit, rows = method.assign(rollouts), slice(1, 3)
    taken = credit.taken(rows, 2)
    assert taken.advantages.ndim == credit.advantages.ndim
    expected = credit.per_token(rollouts.mask)
    found = taken.per_token(rollouts.mask[rows, :2])
    for name in ("shaped_rewards", "advantages", "loss_mask"):
        assert torch.equal(getattr(found, name), getattr(expected, name)[rows, :2])
    for name in ("success", "gated"):
        assert torch.equal(getattr(found, name), getattr(expected, name)[rows])


@pytest.mark.parametrize("mask", [torch.ones(2), torch.ones(3, 2), torch.ones(2, 3)])
def test_a_mask_that_does_not_align_with_the_credit_is_refused(mask):
    rollouts = Rollouts(
        rewards=torch.tensor([1.0, 0.0]),
        entropies=torch.ones(2, 2),
        mask=torch.ones(2, 2),
        group=torch.zeros(2, dtype=torch.long),
    )
    with pytest.raises(ValueError, match=r"mask must be \[B, T\] and align with advantages \[2, 2\]; got"):
        GTPO().assign(rollouts).per_token(mask)


@pytest.mark.parametrize("name", METHODS)
def test_a_success_is_decided_by_the_threshold_of_the_method_wherever_it_is_asked(name):
    rewards = [0.2, 0.7, 0.8, 0.9]
    method = build_method(name, {"success_threshold": 0.8})
    assert method.is_success(rewards).tolist() == [False, False, False, True]
    assert method.is_success(torch.tensor(rewards, dtype=torch.float64)).tolist() == [False, False, False, True]
    assert method.is_success(torch.tensor([rewards])).tolist() == [[False, False, False, True]]
    rollouts = Rollouts(
        rewards=torch.tensor(rewards),
        entropies=torch.ones(4, 1),
        logprobs=-torch.ones(4, 1),
        mask=torch.ones(4, 1),
        group=torch.zeros(4, dtype=torch.long),
    )
    assert method.assign(rollouts, torch.Generator().manual_seed(0)).success.tolist() == [False, False, False, True]


@pytest.mark.parametrize("method", [GRPO(), DAPO()])
def test_methods_without_entropies_need_only_rewards_mask_and_group(method):
    rollouts = Rollouts(rewards=torch.tensor([1.0, 0.0]), mask=torch.ones(2, 1), group=torch.zeros(2, dtype=torch.long))
    assert method.advantages(rollouts)[0] > 0 > method.advantages(rollouts)[1]


def test_rollouts_by_position_are_refused():
    # Optional entropies stand among the arguments: by position they would be taken for something else.
    with pytest.raises(TypeError):
        Rollouts(torch.tensor([1.0]), torch.ones(1, 1), torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
