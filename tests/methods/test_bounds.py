"""Every numeric option and argument: a ValueError that names it, or a finite result."""

import math

import pytest
import torch
from strategies import by_hand

from entroshape import (
    GRPOS,
    GTPO,
    GroupRelativeOverlong,
    Rollouts,
    SoftOverlong,
    clipped_surrogate,
    logprob_and_entropy,
)
from entroshape.methods import METHODS, build_method

HUGE = [1e30, 1e39, 10**400, -1e20, -1e39, math.nan, math.inf, -math.inf]
NUMERIC = [
    (name, option)
    for name in METHODS
    for option in (
        "alpha1",
        "alpha2",
        "beta1",
        "beta2",
        "entropy_floor",
        "success_threshold",
        "failure_reward",
        "epsilon_low",
        "epsilon_high",
        "quantile",
    )
    if option in METHODS[name].__dataclass_fields__
]
BATCH = by_hand([[1.0, 0.0], [2.0, 9.0], [0.5, 0.1], [3.0, 1.0]], [1.0, 0.0, 1.0, 0.0])


@pytest.mark.parametrize(("name", "option"), NUMERIC)
@pytest.mark.parametrize("value", HUGE)
def test_an_option_far_out_of_range_is_refused_by_name(name, option, value):
    with pytest.raises(ValueError, match=rf"^{option} must be "):
        build_method(name, {option: value})


@pytest.mark.parametrize("clip", [(0.0, 1e30), (1e30, 1e39), (-1.0, 1.0), (0.0, math.nan), (0.0, 10**400)])
def test_an_entropy_clip_far_out_of_range_is_refused_by_name(clip):
    with pytest.raises(ValueError, match=r"^entropy_clip\[[01]\] must be "):
        GTPO(entropy_clip=clip)


@pytest.mark.parametrize("method", [GTPO, GRPOS])
@pytest.mark.parametrize("normalization", ["zero_filled", "joint", "within"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_at_the_bounds_the_result_is_finite_and_signs_follow_outcomes(method, normalization, mean):
    first, second = ("alpha1", "alpha2") if method is GTPO else ("beta1", "beta2")
    bounds = {"failure_reward": -1e9, "entropy_floor": 1e-9, first: 1e3, second: 1e3}
    entropies = [[1e4, 0.0], [0.0, 1e4], [1e4, 0.0], [0.0, 1e4]]
    batch = by_hand(entropies, [1e9, -1e9, 1.0, 0.0])
    got = method(normalization=normalization, mean=mean, **bounds).assign(batch.rollouts())
    assert bool(got.shaped_rewards.isfinite().all())
    assert bool(got.advantages.isfinite().all())
    assert bool(got.advantages.any())


@pytest.mark.parametrize("value", [3e38, 1.1e4, math.inf, math.nan])
def test_entropies_that_no_vocabulary_has_are_refused(value):
    entropies = torch.tensor([[1.0, value], [1.0, 1.0]])
    with pytest.raises(ValueError, match=r"^entropies must be .*got .* at \[0, 1\]"):
        Rollouts(
            rewards=torch.zeros(2), entropies=entropies, mask=torch.ones(2, 2), group=torch.zeros(2, dtype=torch.long)
        )


@pytest.mark.parametrize("value", [-3e38, -1.1e4, -math.inf, math.nan, 1.0])
def test_log_probabilities_that_no_sampled_token_has_are_refused(value):
    with pytest.raises(ValueError, match=r"^logprobs must be .*got .* at \[1, 0\]"):
        Rollouts(
            rewards=torch.zeros(2),
            logprobs=torch.tensor([[-1.0], [value]]),
            mask=torch.ones(2, 1),
            group=torch.zeros(2, dtype=torch.long),
        )


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64]
)
def test_group_ids_of_any_integer_dtype_are_names(dtype):
    group = torch.tensor([7, 7, 3, 3], dtype=torch.int64)
    expected = GTPO().advantages(BATCH.rollouts(group=group))
    assert torch.equal(GTPO().advantages(BATCH.rollouts(group=group.to(dtype))), expected)


@pytest.mark.parametrize("options", [{"max_length": 1e30}, {"max_length": 2**25}, {"max_length": 8.0}, {"cache": 1e30}])
def test_lengths_that_float32_cannot_tell_apart_are_refused(options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} must be a whole number"):
        SoftOverlong(**{"max_length": 8, "cache": 4, **options})


def test_the_boundary_of_an_easy_and_of_a_hard_prompt_is_exact_for_every_share():
    for size in range(2, 41):
        for right in range(size + 1):
            success = torch.arange(size) < right
            share = max(right, size - right) / size
            if 0.5 < share < 1:
                rule = GroupRelativeOverlong(gamma1=share, hard=SoftOverlong(max_length=1, cache=1))
                got = rule.punishment(torch.full((size,), 5), success, torch.zeros(size, dtype=torch.long))
                # All are of one length: an easy prompt punishes none, a hard one gives DAPO's -1.
                assert got.tolist() == [0.0 if right * 2 > size else -1.0] * size


@pytest.mark.parametrize("temperature", [1e-30, 1e-45, 1e39, 10**400])
def test_a_temperature_that_leaves_float32_is_refused(temperature):
    with pytest.raises(ValueError, match=r"^temperature must be "):
        logprob_and_entropy(torch.zeros(1, 2), torch.tensor([0]), temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
def test_at_the_bounds_of_temperature_everything_is_finite(temperature):
    logits = torch.tensor([[1e30, -1e30, 0.0]], requires_grad=True)
    logprobs, entropies = logprob_and_entropy(logits, torch.tensor([0]), temperature=temperature)
    logprobs.sum().backward()
    for value in (logprobs, entropies, logits.grad):
        assert bool(value.isfinite().all())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["old_logprobs", "advantages"])
def test_data_without_a_finite_loss_is_refused_by_name_and_place(name, value):
    data = {"logprobs": torch.zeros(2, 2), "old_logprobs": torch.zeros(2, 2), "advantages": torch.zeros(2, 2)}
    data[name][1, 0] = value
    with pytest.raises(ValueError, match=rf"^{name} must be finite.* where mask is 1; got .* at \[1, 0\]"):
        clipped_surrogate(**data, mask=torch.ones(2, 2))
    clipped_surrogate(**data, mask=torch.tensor([[1, 1], [0, 1]]))  # it is not read where the mask is 0


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-40, math.nan, math.inf, torch.tensor(0.0), torch.tensor(math.nan)])
def test_a_normalizer_that_is_no_count_is_refused(value):
    zeros = torch.zeros(1, 1)
    with pytest.raises(ValueError, match=r"^normalizer must be "):
        clipped_surrogate(zeros, zeros, zeros, torch.ones(1, 1), normalizer=value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_ratio_however_large_has_a_finite_gradient(dtype):
    logprobs = torch.zeros(1, 2, dtype=dtype, requires_grad=True)
    loss, _ = clipped_surrogate(
        logprobs, torch.full((1, 2), -50.0), torch.tensor([[-1.0, 1.0]]), torch.ones(1, 2), ratio="token"
    )
    loss.backward()
    assert bool(loss.isfinite())
    assert bool(logprobs.grad.isfinite().all())


def test_float16_log_probabilities_are_refused_where_their_gradient_would_overflow():
    logprobs = torch.zeros(1, 1, dtype=torch.float16)
    arguments = (torch.full((1, 1), -18.0), -torch.ones(1, 1), torch.ones(1, 1))
    loss, _ = clipped_surrogate(logprobs, *arguments)  # without a gradient they are as good as any
    assert loss.item() == pytest.approx(math.exp(18.0), rel=1e-5)
    with pytest.raises(ValueError, match=r"^logprobs must be float32, float64 or bfloat16 to be trained through"):
        clipped_surrogate(logprobs.requires_grad_(), *arguments)


@pytest.mark.parametrize("normalization", ["zero_filled", "joint", "within"])
@pytest.mark.parametrize("sequence_entropy_mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("reward", [0.0, 1.0])
@pytest.mark.parametrize("entropy", [0.1, 0.7, 3.3])
def test_equal_rewards_and_entropies_give_exactly_zero_however_long_the_responses(
    normalization, sequence_entropy_mean, mean, reward, entropy
):
    lengths = [1, 3, 7, 2, 11, 6, 5, 13]
    mask = [[1] * n + [0] * (13 - n) for n in lengths]
    batch = by_hand([[entropy] * 13] * 8, [reward] * 8, mask)
    options = {"normalization": normalization, "mean": mean, "gate": False}
    sequence = GRPOS(**options, sequence_entropy_mean=sequence_entropy_mean).advantages(batch.rollouts())
    assert not sequence.any()
    if normalization != "zero_filled" or reward == 1.0:
        assert not GTPO(**options).advantages(batch.rollouts()).any()
