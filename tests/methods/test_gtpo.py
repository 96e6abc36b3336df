"""GTPO against the oracle, and its control signals."""

import dataclasses

import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    COEFFICIENT,
    GTPO_SHAPING,
    NAN,
    NORMALIZING,
    Batch,
    assert_close,
    batches,
    by_hand,
    token_tolerances,
)

from entroshape import GTPO, GroupRelativeOverlong, SoftOverlong


@pytest.mark.parametrize("axis", ["column", "row", "matrix"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@given(
    batch=batches(rewards="graded"),
    options=st.fixed_dictionaries({**GTPO_SHAPING, "axis": st.none(), "mean": st.none()}),
)
def test_shaped_rewards_match_the_oracle(axis, mean, batch, options):
    options = {**options, "axis": axis, "mean": mean}
    assert_close(GTPO(**options).shaped_rewards(batch.rollouts()), oracle.gtpo_shaped(*batch.lists(), **options))


@pytest.mark.parametrize("normalization", ["zero_filled", "joint", "within"])
@given(
    batch=batches(rewards="graded"),
    shaping=st.fixed_dictionaries(GTPO_SHAPING),
    normalizing=st.fixed_dictionaries({**NORMALIZING, "normalization": st.none()}),
)
@settings(max_examples=settings().max_examples * 5 // 3)
def test_advantages_match_the_oracle(normalization, batch, shaping, normalizing):
    normalizing = {**normalizing, "normalization": normalization}
    success = oracle.successes(batch.rewards, shaping["success_threshold"])
    shaped = oracle.gtpo_shaped(*batch.lists(), **shaping)
    expected = oracle.token_advantages(shaped, batch.mask, success, batch.group, **normalizing)
    got = GTPO(**shaping, **normalizing).advantages(batch.rollouts())
    assert_close(got, expected, atol=token_tolerances(batch, shaped, success, **normalizing))


@given(batch=batches())
def test_the_defaults_are_the_specification_s(batch):
    shaped = oracle.gtpo_shaped(*batch.lists())
    credit = GTPO().assign(batch.rollouts())
    assert_close(credit.shaped_rewards, shaped)
    assert_close(
        credit.advantages,
        oracle.token_advantages(shaped, batch.mask, batch.success, batch.group),
        atol=token_tolerances(batch, shaped, batch.success),
    )
    assert credit.success.tolist() == batch.success
    assert credit.loss_mask.tolist() == [[m == 1 for m in row] for row in batch.mask]
    assert credit.gated.tolist() == [
        oracle.token_gated(i, batch.mask, batch.success, batch.group) for i in range(batch.size)
    ]


@pytest.mark.slow
def test_a_long_batch_matches_the_oracle():
    generator = torch.Generator().manual_seed(0)
    size, width = 24, 300
    lengths = torch.randint(0, width + 1, (size,), generator=generator).tolist()
    batch = Batch(
        rewards=(torch.rand(size, generator=generator) > 0.6).float().tolist(),
        entropies=(4 * torch.rand(size, width, generator=generator) ** 6).tolist(),
        mask=[[1] * n + [0] * (width - n) for n in lengths],
        group=torch.randint(0, 3, (size,), generator=generator).tolist(),
        logprobs=[],
    )
    shaped = oracle.gtpo_shaped(*batch.lists())
    expected = oracle.token_advantages(shaped, batch.mask, batch.success, batch.group)
    assert_close(GTPO().shaped_rewards(batch.rollouts()), shaped)
    assert_close(GTPO().advantages(batch.rollouts()), expected, atol=2e-5)


@pytest.mark.parametrize("rule", ["soft", "relative", "relative with soft for the hard"])
@given(batch=batches(rewards="graded", max_width=8), alpha1=COEFFICIENT)
def test_the_punishment_is_added_to_the_base_reward_and_leaves_success_as_it_was(rule, batch, alpha1):
    lengths = oracle.lengths(batch.mask)
    soft = (6, 3)
    if rule == "soft":
        overlong = SoftOverlong(max_length=soft[0], cache=soft[1])
        punishment = [oracle.soft_overlong(length, *soft) for length in lengths]
    else:
        hard = soft if rule.endswith("hard") else None
        overlong = GroupRelativeOverlong(
            gamma1=0.6, hard=SoftOverlong(max_length=soft[0], cache=soft[1]) if hard else None
        )
        punishment = oracle.group_relative_overlong(lengths, batch.success, batch.group, 0.6, hard)
    shaped = oracle.gtpo_shaped(*batch.lists(), alpha1=alpha1, punishment=punishment)
    credit = GTPO(alpha1=alpha1, overlong=overlong).assign(batch.rollouts())
    assert_close(credit.shaped_rewards, shaped)
    assert credit.success.tolist() == batch.success
    expected = oracle.token_advantages(shaped, batch.mask, batch.success, batch.group)
    assert_close(credit.advantages, expected, atol=token_tolerances(batch, shaped, batch.success))


@given(batch=batches(rewards="graded"), data=st.data())
def test_explicit_success_overrules_the_threshold(batch, data):
    success = data.draw(st.lists(st.booleans(), min_size=batch.size, max_size=batch.size))
    credit = GTPO().assign(batch.rollouts(success=torch.tensor(success)))
    assert_close(credit.shaped_rewards, oracle.gtpo_shaped(*batch.lists(), success=success))
    assert credit.success.tolist() == success


@given(batch=batches())
def test_the_surprisal_control_puts_minus_logprob_in_the_entropy_s_place(batch):
    surprisal = [
        [-v if m else NAN for v, m in zip(*rows, strict=True)] for rows in zip(batch.logprobs, batch.mask, strict=True)
    ]
    expected = oracle.gtpo_shaped(batch.rewards, surprisal, batch.mask, batch.group)
    got = GTPO(signal="surprisal").shaped_rewards(batch.rollouts(logprobs=True, entropies=None))
    assert_close(got, expected)


@given(batch=batches())
def test_the_uniform_control_gives_every_token_weight_one(batch):
    got = GTPO(signal="uniform").shaped_rewards(batch.rollouts())
    assert_close(
        got, [[(1.1 if r else -1.1) * m for m in row] for r, row in zip(batch.rewards, batch.mask, strict=True)]
    )


@pytest.mark.parametrize("scope", ["group", "batch"])
@given(batch=batches(holes=True), seed=st.integers(0, 2**31))
def test_the_random_control_keeps_the_values_of_the_comparison_scope_and_moves_them(scope, batch, seed):
    """All right: the matrix weights of a set are its entropies over their mean, so the sorted weights must be equal."""
    batch = dataclasses.replace(batch, rewards=[1.0] * batch.size)
    options = {"axis": "matrix", "comparison_scope": scope, "alpha1": 0.0, "alpha2": 1.0}
    random = GTPO(signal="random", **options).shaped_rewards(batch.rollouts(), torch.Generator().manual_seed(seed))
    honest = GTPO(**options).shaped_rewards(batch.rollouts())
    sets = torch.tensor(oracle.sets_of(batch.group, scope))
    for a in sets.unique():
        assert_close(random[sets == a].flatten().sort().values, honest[sets == a].flatten().sort().values.tolist())
    assert not random[torch.tensor(batch.mask) == 0].any()


def test_the_random_control_is_decided_by_its_generator():
    batch = by_hand([[float(1 + i + 6 * t) for t in range(6)] for i in range(6)], [1.0] * 3 + [0.0] * 3)
    draws = [
        GTPO(signal="random").advantages(batch.rollouts(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.slow
def test_the_random_control_carries_no_information_on_average():
    """The mean over many draws of a token's weight is that of any other token of its outcome."""
    batch = by_hand([[8.0, 1.0], [1.0, 1.0], [1.0, 8.0], [1.0, 1.0]], [1.0, 1.0, 0.0, 0.0])
    generator = torch.Generator().manual_seed(0)
    method = GTPO(signal="random", alpha1=0.0, alpha2=1.0)
    mean = sum(method.shaped_rewards(batch.rollouts(), generator) for _ in range(3000)) / 3000
    assert_close(mean, [[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, -1.0]], atol=0.05)
