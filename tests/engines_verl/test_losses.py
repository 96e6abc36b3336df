"""The policy losses: the methods' own surrogates, whatever way a mini-batch is split."""

from types import SimpleNamespace

import pytest
import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn

from entroshape.credit.surrogate import clipped_surrogate
from entroshape.engines.verl.options import AGGREGATIONS, loss_mode

CASES = [
    ("token", "token_mean"),
    ("token", "sequence_mean"),
    ("sequence_arithmetic", "sequence_mean"),
    ("sequence_geometric", "sequence_mean"),
]


def tensors(rows=12, length=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    new = -torch.rand(rows, length, generator=g)
    old = new + 0.3 * torch.randn(rows, length, generator=g)
    advantages = torch.randn(rows, length, generator=g)
    mask = torch.arange(length) < torch.randint(1, length + 1, (rows, 1), generator=g)
    return new, old, advantages, mask


def losses_of(parts, ratio, aggregation, info, weights=None):
    config = SimpleNamespace(clip_ratio_low=0.2, clip_ratio_high=0.28, global_batch_info=info)
    function = get_policy_loss_fn(loss_mode(ratio))
    return [
        function(
            old_log_prob=old,
            log_prob=new,
            advantages=advantages,
            response_mask=mask,
            loss_agg_mode=AGGREGATIONS[aggregation],
            config=config,
            rollout_is_weights=None if weights is None else weights[part],
        )[0]
        for part, (new, old, advantages, mask) in enumerate(parts)
    ]


def whole(ratio, aggregation, new, old, advantages, mask):
    return clipped_surrogate(
        new, old, advantages, mask, ratio=ratio, epsilon_low=0.2, epsilon_high=0.28, aggregation=aggregation
    )[0]


def split(values, sizes):
    return list(zip(*(each.split(sizes) for each in values), strict=True))


@pytest.mark.parametrize(("ratio", "aggregation"), CASES)
@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [1, 5, 6]])
@pytest.mark.parametrize("ranks", [1, 2])
def test_micro_batches_add_up_and_ranks_average_to_the_methods_own_loss(ratio, aggregation, sizes, ranks):
    values = tensors()
    new = values[0].requires_grad_()
    info = {"dp_size": ranks, "batch_num_tokens": int(values[3].sum()), "global_batch_size": 12}
    total = sum(losses_of(split(values, sizes), ratio, aggregation, info)) / ranks
    expected = whole(ratio, aggregation, *values)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(torch.autograd.grad(total, new)[0], torch.autograd.grad(expected, new)[0])


@pytest.mark.parametrize(("ratio", "aggregation"), CASES)
def test_without_counts_of_a_mini_batch_the_rows_with_tokens_are_what_is_averaged(ratio, aggregation):
    new, old, advantages, mask = tensors()
    padded = [torch.cat([each, each.new_zeros(5, each.shape[1])]) for each in (new, old, advantages, mask)]
    info = {"dp_size": 1, "batch_num_tokens": None, "global_batch_size": None}
    (loss,) = losses_of([padded], ratio, aggregation, info)
    torch.testing.assert_close(loss, whole(ratio, aggregation, new, old, advantages, mask))


@pytest.mark.parametrize(("ratio", "aggregation"), CASES)
def test_padding_rows_add_nothing_to_a_mini_batch(ratio, aggregation):
    values = tensors()
    padded = [torch.cat([each, each.new_zeros(5, each.shape[1])]) for each in values]
    info = {"dp_size": 1, "batch_num_tokens": int(values[3].sum()), "global_batch_size": 12}
    (loss,) = losses_of([padded], ratio, aggregation, info)
    torch.testing.assert_close(loss, whole(ratio, aggregation, *values))


@pytest.mark.parametrize(("ratio", "aggregation"), CASES)
def test_a_mini_batch_without_a_token_has_no_loss_and_no_gradient(ratio, aggregation):
    new, old, advantages, mask = tensors()
    new.requires_grad_()
    info = {"dp_size": 2, "batch_num_tokens": 0, "global_batch_size": 12}
    (loss,) = losses_of([(new, old, advantages, torch.zeros_like(mask))], ratio, aggregation, info)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, new)[0].abs().sum() == 0


@pytest.mark.parametrize(("ratio", "aggregation"), CASES)
def test_rollout_correction_weighs_each_tokens_objective(ratio, aggregation):
    values = tensors()
    weights = torch.rand(values[0].shape, generator=torch.Generator().manual_seed(1))
    info = {"dp_size": 1, "batch_num_tokens": int(values[3].sum()), "global_batch_size": 12}
    (loss,) = losses_of([values], ratio, aggregation, info, weights=[weights])
    (halved,) = losses_of([values], ratio, aggregation, info, weights=[weights / 2])
    torch.testing.assert_close(loss, 2 * halved)
    new, old, advantages, mask = values
    torch.testing.assert_close(loss, whole(ratio, aggregation, new, old, advantages * weights, mask))


def test_an_aggregation_of_no_method_is_refused():
    config = SimpleNamespace(clip_ratio_low=0.2, clip_ratio_high=0.28, global_batch_info={})
    new, old, advantages, mask = tensors()
    with pytest.raises(ValueError, match="loss_agg_mode"):
        get_policy_loss_fn(loss_mode("token"))(
            old_log_prob=old,
            log_prob=new,
            advantages=advantages,
            response_mask=mask,
            loss_agg_mode="seq-mean-token-sum-norm",
            config=config,
        )
