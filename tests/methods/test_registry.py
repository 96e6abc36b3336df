"""The registry of methods, and what every method in it keeps to."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAN, assert_close, batches, by_hand

from entroshape import DAPO, GRPO, GRPOS, GTPO, METHODS, OPO, ForkingTokens, Method, build_method

CONTROLS = ["gtpo_uniform", "gtpo_random", "gtpo_surprisal", "grpo_s_uniform", "grpo_s_random"]
NAMES = ["gtpo", "grpo_s", "grpo", "dapo", "dapo_forking", "opo", *CONTROLS]


def test_the_registry_holds_the_documented_names():
    assert list(METHODS) == NAMES
    assert [METHODS[name] for name in NAMES[:6]] == [GTPO, GRPOS, GRPO, DAPO, ForkingTokens, OPO]


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_built_by_its_name_and_knows_it(name):
    method = build_method(name)
    assert isinstance(method, Method)
    assert type(method) is METHODS[name]
    assert method.name == name
    assert method == METHODS[name]()


@pytest.mark.parametrize("name", NAMES)
def test_options_are_frozen_and_keyword_only(name):
    method = build_method(name)
    option = dataclasses.fields(method)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(method, option, getattr(method, option))
    with pytest.raises(TypeError):
        METHODS[name](0.5)


def test_options_reach_the_method():
    assert build_method("gtpo", {"alpha2": 0.2}) == GTPO(alpha2=0.2)
    assert build_method("dapo_forking", {"quantile": 0.1}) == ForkingTokens(quantile=0.1)


def test_an_unknown_method_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="'gtpoo'") as caught:
        build_method("gtpoo")
    assert all(name in str(caught.value) for name in NAMES)


def test_an_unknown_option_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'alpha3'.*alpha1"):
        build_method("gtpo", {"alpha3": 1.0})


@pytest.mark.parametrize("name", NAMES)
@given(batch=batches(rewards="graded"), seed=st.integers(0, 100))
def test_every_method_gives_finite_aligned_credit_and_leaks_nothing_from_masked_tokens(name, batch, seed):
    """`batches` puts NaN on every masked entropy and log-probability."""
    credit = build_method(name).assign(batch.rollouts(logprobs=True), torch.Generator().manual_seed(seed))
    assert credit.advantages.shape in [(batch.size,), (batch.size, batch.width)]
    assert credit.shaped_rewards.shape == credit.advantages.shape
    assert credit.advantages.dtype == credit.shaped_rewards.dtype == torch.float32
    assert bool(credit.advantages.isfinite().all())
    assert bool(credit.shaped_rewards.isfinite().all())
    assert credit.loss_mask.shape == (batch.size, batch.width)
    assert (credit.loss_mask.dtype, credit.success.dtype, credit.gated.dtype) == (torch.bool,) * 3
    assert credit.success.shape == credit.gated.shape == (batch.size,)
    outside = torch.tensor(batch.mask) == 0
    assert not credit.loss_mask[outside].any()
    if credit.advantages.ndim == 2:
        assert not credit.advantages[outside].any()
        assert not credit.shaped_rewards[outside].any()
    assert not credit.advantages[credit.gated].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reward", [1e6, 1e15, 1e30, 3e38, -3e38])
def test_rewards_however_large_give_finite_advantages_or_are_refused(name, reward):
    batch = by_hand([[1.0], [2.0], [3.0]], [reward, 1.0, 0.0])
    try:
        rollouts = batch.rollouts(logprobs=True)
    except ValueError as refused:
        if str(refused).startswith("rewards must "):
            return
        raise
    assert bool(build_method(name).advantages(rollouts).isfinite().all())


@pytest.mark.parametrize("name", NAMES)
@given(batch=batches(rewards="graded"))
def test_shaped_rewards_and_advantages_are_those_of_assign(name, batch):
    rollouts, method = batch.rollouts(logprobs=True), build_method(name)
    credit = method.assign(rollouts, torch.Generator().manual_seed(0))
    assert torch.equal(method.advantages(rollouts, torch.Generator().manual_seed(0)), credit.advantages)
    assert torch.equal(method.shaped_rewards(rollouts, torch.Generator().manual_seed(0)), credit.shaped_rewards)


@pytest.mark.parametrize("name", NAMES)
@given(batch=batches())
def test_a_method_leaves_the_rollouts_as_they_were(name, batch):
    rollouts = batch.rollouts(logprobs=True)
    before = {f.name: getattr(rollouts, f.name) for f in dataclasses.fields(rollouts)}
    copies = {k: v.clone() for k, v in before.items() if v is not None}
    build_method(name).assign(rollouts)
    for key, copy in copies.items():
        assert torch.equal(before[key].nan_to_num(7.0), copy.nan_to_num(7.0))


@pytest.mark.parametrize("name", NAMES)
@given(batch=batches(mixed=True, holes=False))
def test_advantage_and_objective_fit_together(name, batch):
    """At the sampling policy every ratio is 1: the loss is minus the mean advantage, aggregated the method's way."""
    method, rollouts = build_method(name), batch.rollouts(logprobs=True)
    credit = method.assign(rollouts, torch.Generator().manual_seed(0))
    logprobs = torch.where(rollouts.mask, -1.0, NAN).requires_grad_()
    loss, diagnostics = method.surrogate(logprobs, logprobs.detach(), credit.advantages, credit.loss_mask)
    loss.backward()
    assert bool(logprobs.grad.isfinite().all())
    per_token = credit.advantages if credit.advantages.ndim == 2 else credit.advantages[:, None] * credit.loss_mask
    if method.surrogate.aggregation == "token_mean":
        expected = -per_token[credit.loss_mask].mean()
    else:
        expected = -(per_token.sum(dim=1) / credit.loss_mask.sum(dim=1).clamp(min=1)).mean()
    assert_close(loss.detach(), expected.item(), atol=1e-5)
    assert diagnostics["ratio_mean"].item() == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_needs_says_which_optional_fields_must_be_there(name):
    batch = by_hand([[1.0], [2.0]], [1.0, 0.0])
    method = build_method(name)
    method.assign(
        batch.rollouts(
            **{} if "entropies" in method.needs else {"entropies": None}, logprobs="logprobs" in method.needs
        )
    )
    for missing in method.needs:
        with pytest.raises(ValueError, match=f"^{missing} must .*got None"):
            method.assign(
                batch.rollouts(logprobs=missing != "logprobs", **{"entropies": None} if missing == "entropies" else {})
            )


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_keeps_the_signal_that_it_is_named_for(name):
    own = build_method(name).signal
    assert build_method(name, {"signal": own}) == build_method(name)
    for other in {"entropy", "uniform", "random", "surprisal"} - {own}:
        original = "gtpo" if name.startswith("gtpo") else "grpo_s"
        words = f"signal of {name} must be '{own}'; got '{other}'. Use {original} for other signals"
        with pytest.raises(ValueError, match=words):
            build_method(name, {"signal": other})
