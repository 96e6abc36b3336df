"""Shaped rewards as pure functions, against the loops of the oracle; none of them passes a gradient on."""

import oracle
import torch
from hypothesis import given
from strategies import AXIS, COEFFICIENT, MEAN, assert_close, batches

from entroshape import GRPOS, GTPO, Rollouts
from entroshape.credit.shaping import response_entropies, shaped_response_rewards, shaped_token_rewards


def arguments(batch):
    """base, entropies, mask, success, sets: failures have the base -1."""
    success = torch.tensor(batch.success)
    base = torch.where(success, torch.tensor(batch.rewards), -1.0)
    tensors = batch.tensors()
    entropies = tensors["entropies"].clamp(min=1e-6)
    return base, entropies, tensors["mask"].bool(), success, tensors["group"]


@given(batch=batches(rewards="graded"), alpha1=COEFFICIENT, alpha2=COEFFICIENT, axis=AXIS, mean=MEAN)
def test_eq_3_and_5(batch, alpha1, alpha2, axis, mean):
    options = {"alpha1": alpha1, "alpha2": alpha2, "axis": axis, "mean": mean}
    assert_close(shaped_token_rewards(*arguments(batch), **options), oracle.gtpo_shaped(*batch.lists(), **options))


@given(batch=batches(), mean=MEAN)
def test_eq_8(batch, mean):
    _, entropies, mask, _, _ = arguments(batch)
    expected = oracle.sequence_entropies(oracle.clipped_entropies(batch.entropies, batch.mask), batch.mask, mean)
    assert_close(response_entropies(entropies, mask, mean=mean), [1.0 if h is None else h for h in expected])


@given(batch=batches(rewards="graded"), beta1=COEFFICIENT, beta2=COEFFICIENT, mean=MEAN, sequence_entropy_mean=MEAN)
def test_eq_9(batch, beta1, beta2, mean, sequence_entropy_mean):
    options = {"beta1": beta1, "beta2": beta2, "mean": mean, "sequence_entropy_mean": sequence_entropy_mean}
    assert_close(shaped_response_rewards(*arguments(batch), **options), oracle.grpo_s_shaped(*batch.lists(), **options))


def test_no_gradient_flows_through_entropies_or_rewards():
    base, entropies = torch.tensor([1.0, -1.0], requires_grad=True), torch.ones(2, 2, requires_grad=True)
    mask, success, sets = torch.ones(2, 2, dtype=torch.bool), torch.tensor([True, False]), torch.zeros(2).long()
    for shaped in (shaped_token_rewards, shaped_response_rewards):
        assert not shaped(base, entropies, mask, success, sets).requires_grad


def test_a_matrix_in_blocks_gives_what_it_gives_at_once(monkeypatch):
    torch.manual_seed(0)
    rollouts = Rollouts(
        rewards=(torch.rand(40) < 0.5).float(),
        entropies=torch.rand(40, 30),
        mask=torch.rand(40, 30) < 0.8,
        group=torch.arange(40) // 8,
    )
    methods = [GRPOS(), *(GTPO(axis=axis) for axis in ("column", "row", "matrix"))]
    whole = [method.advantages(rollouts) for method in methods]
    monkeypatch.setattr("entroshape.credit._blocks.BLOCK_CPU", 100)
    for method, advantages in zip(methods, whole, strict=True):
        torch.testing.assert_close(method.advantages(rollouts), advantages, rtol=1e-6, atol=1e-6)
