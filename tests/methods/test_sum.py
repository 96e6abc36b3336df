"""Sums of methods: linear in the weights, equal to their terms, refused where there is no common objective."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import batches, by_hand

from entroshape import (
    DAPO,
    GRPO,
    GRPOS,
    GTPO,
    OPO,
    Credit,
    ForkingTokens,
    SoftOverlong,
    Sum,
    Term,
    build_method,
)
from entroshape.methods import method_name, method_options

WEIGHTS = st.floats(-4, 4, width=16).filter(bool)
SUMMABLE = [GTPO(), DAPO(), OPO(), GTPO(alpha2=0.5, axis="row"), build_method("gtpo_random")]


def total(*terms):
    return Sum(terms=tuple(Term(method=method, weight=weight) for weight, method in terms))


def generator():
    return torch.Generator().manual_seed(3)


def oracle(terms, rollouts):
    """Advantages and shaped rewards, token by token in plain loops; terms draw from one generator in their order."""
    draw = generator()
    credits = [(weight, method.assign(rollouts, draw)) for weight, method in terms]
    size, length = rollouts.mask.shape
    advantages, shaped = torch.zeros(size, length), torch.zeros(size, length)
    gated = []
    for i in range(size):
        gated.append(all(bool(credit.gated[i]) for _, credit in credits))
        for t in range(length):
            if not rollouts.mask[i, t]:
                continue
            for weight, credit in credits:
                token = (i, t) if credit.advantages.ndim == 2 else (i,)
                advantages[i, t] += weight * credit.advantages[token]
                shaped[i, t] += weight * credit.shaped_rewards[token]
    return advantages, shaped, torch.tensor(gated)


@given(
    batch=batches(rewards="graded"),
    terms=st.lists(st.tuples(WEIGHTS, st.sampled_from(SUMMABLE)), min_size=1, max_size=3),
)
def test_the_credit_of_a_sum_is_that_of_plain_loops(batch, terms):
    rollouts = batch.rollouts(logprobs=True)
    credit = total(*terms).assign(rollouts, generator())
    spread = credit.per_token(rollouts.mask)
    advantages, shaped, gated = oracle(terms, rollouts)
    torch.testing.assert_close(spread.advantages, advantages, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(spread.shaped_rewards, shaped, atol=1e-4, rtol=1e-5)
    assert torch.equal(credit.gated, gated)
    assert not credit.advantages[credit.gated].any()
    token_level = any(method.advantages(rollouts, generator()).ndim == 2 for _, method in terms)
    assert credit.advantages.ndim == (2 if token_level else 1)


@given(batch=batches(rewards="graded"), first=WEIGHTS, second=WEIGHTS, factor=st.sampled_from([-2.0, 0.5, 4.0]))
def test_advantages_are_linear_in_the_weights(batch, first, second, factor):
    rollouts = batch.rollouts()
    plain = total((first, GTPO()), (second, DAPO())).advantages(rollouts)
    scaled = total((factor * first, GTPO()), (factor * second, DAPO())).advantages(rollouts)
    assert torch.equal(scaled, factor * plain)  # powers of two round nothing


@pytest.mark.parametrize(
    "method", [GTPO(), GRPOS(), GRPO(), DAPO(), ForkingTokens(), build_method("gtpo_random"), OPO()], ids=method_name
)
@given(batch=batches(rewards="graded"))
def test_one_term_of_weight_1_is_the_method(method, batch):
    rollouts = batch.rollouts(logprobs=True)
    alone = total((1.0, method))
    own, summed = method.assign(rollouts, generator()), alone.assign(rollouts, generator())
    for field in ("shaped_rewards", "advantages", "loss_mask", "success", "gated"):
        assert torch.equal(getattr(summed, field), getattr(own, field)), field
    assert (alone.surrogate, alone.needs, alone.dynamic_sampling, alone.selects_tokens) == (
        method.surrogate,
        method.needs,
        method.dynamic_sampling,
        method.selects_tokens,
    )


def test_a_sum_needs_what_any_term_needs_and_refuses_rollouts_without_it():
    mixed = total((1.0, GTPO()), (1.0, build_method("gtpo_surprisal")), (1.0, DAPO()))
    assert mixed.needs == {"entropies", "logprobs"}
    batch = by_hand([[1.0], [2.0]], [1.0, 0.0])
    with pytest.raises(ValueError, match="logprobs must be given"):
        mixed.assign(batch.rollouts())


def test_a_completion_is_gated_only_if_every_term_gates_it():
    failed = by_hand([[1.0, 2.0], [3.0, 1.0]], [0.0, 0.0]).rollouts()
    assert total((1.0, GTPO()), (1.0, DAPO())).assign(failed).gated.all()
    ungated = total((1.0, GTPO(gate=False)), (1.0, DAPO())).assign(failed)
    assert not ungated.gated.any()
    assert ungated.advantages.any()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([GTPO(), GRPOS()], "GTPO and GRPOS cannot be summed: ratio of their objectives is 'token' and 'sequence_arit"),
        ([DAPO(), GTPO(), GTPO(epsilon_high=0.3)], "DAPO and GTPO cannot .*epsilon_high .* is 0.28 and 0.3"),
        ([GRPO(epsilon_high=0.28), DAPO()], "GRPO and DAPO cannot .*aggregation .* 'sequence_mean' and 'token_mean'"),
        ([GTPO(), ForkingTokens()], "GTPO and ForkingTokens cannot .*: ForkingTokens trains on some tokens only"),
        (
            [DAPO(overlong=SoftOverlong(max_length=9, cache=3))],
            "overlong must be set on the sum.*DAPO has SoftOverlong",
        ),
        ([DAPO(success_threshold=0.7)], "success_threshold must be set on the sum.*has 0.5, and its term DAPO has 0.7"),
        (["gtpo"], "method of a term must be a method such as GTPO"),
    ],
)
def test_what_cannot_be_summed_is_refused_and_both_are_named(terms, message):
    with pytest.raises(ValueError, match=message):
        total(*((0.5, method) for method in terms))


def test_terms_that_select_different_tokens_are_refused_when_they_do():
    rollouts = by_hand([[1.0, 2.0, 0.5], [3.0, 1.0, 0.2]], [1.0, 0.0]).rollouts()
    same = total((0.5, ForkingTokens()), (0.5, ForkingTokens()))
    torch.testing.assert_close(same.advantages(rollouts), ForkingTokens().advantages(rollouts))
    with pytest.raises(ValueError, match="ForkingTokens and ForkingTokens cannot be summed: the loss_mask of their"):
        total((0.5, ForkingTokens()), (0.5, ForkingTokens(quantile=0.5))).assign(rollouts)


@pytest.mark.parametrize("weight", [0, 0.0, float("nan"), "half", True, 1e30])
def test_a_weight_is_a_finite_number_other_than_0(weight):
    with pytest.raises(ValueError, match="weight"):
        Term(method=GTPO(), weight=weight)


def test_threshold_and_punishment_are_set_on_the_sum_for_all_terms():
    overlong = SoftOverlong(max_length=3, cache=2)
    rollouts = by_hand([[1.0, 2.0, 1.0], [3.0, 1.0, 1.0], [1.0, 0.5, 2.0]], [0.8, 0.6, 0.2]).rollouts()
    mixed = Sum(terms=(Term(method=GTPO()), Term(method=DAPO())), overlong=overlong, success_threshold=0.7)
    expected = GTPO(overlong=overlong, success_threshold=0.7).advantages(rollouts)
    expected = (
        expected + DAPO(overlong=overlong, success_threshold=0.7).assign(rollouts).per_token(rollouts.mask).advantages
    )
    torch.testing.assert_close(mixed.advantages(rollouts), expected)
    assert dataclasses.replace(mixed, overlong=None, success_threshold=0.5) == total((1.0, GTPO()), (1.0, DAPO()))


PLAIN = {"terms": [{"method": "gtpo", "weight": 0.7, "options": {"alpha2": 0.2}}, {"method": "dapo"}]}


def test_a_sum_is_built_by_name_and_its_plain_options_build_it_again():
    built = build_method("sum", PLAIN)
    assert built == total((0.7, GTPO(alpha2=0.2)), (1.0, DAPO()))
    assert hash(built) == hash(build_method("sum", PLAIN))
    assert build_method(method_name(built), method_options(built)) == built
    nested = build_method("sum", {"terms": [{"method": "sum", "weight": 0.5, "options": PLAIN}, {"method": "opo"}]})
    assert build_method("sum", method_options(nested)) == nested


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "terms must be a tuple of at least one Term"),
        ({"gtpo": 0.5}, r"terms must be a list such as \[\{method: gtpo, weight: 0.5\}"),
        ([{"weight": 0.5}], r"terms\[0\] must have a method"),
        (["gtpo"], r"terms\[0\] must have a method.*got 'gtpo'"),
        ([{"method": "gtpo", "wieght": 1}], r"terms\[0\] may have method, weight and options; got 'wieght'"),
        ([{"method": "gtpo"}, {"method": "dpo"}], r"terms\[1\]: method must be one of .*did you mean dapo\?"),
        ([{"method": "gtpo", "options": {"beta2": 1}}], r"terms\[0\]: unknown option 'beta2'.*did you mean alpha2\?"),
        ([{"method": "gtpo", "options": 3}], r"options of terms\[0\] must be a mapping"),
        ([{"method": "gtpo", "weight": 0}], r"terms\[0\]: weight of a term must not be 0"),
    ],
)
def test_plain_terms_of_another_form_are_refused_with_their_place(terms, message):
    with pytest.raises(ValueError, match=message):
        build_method("sum", {"terms": terms})


def test_a_sum_without_terms_is_refused():
    with pytest.raises(ValueError, match="terms must be"):
        build_method("sum")


def test_credit_of_a_sum_has_every_field_of_credit():
    assert isinstance(total((1.0, GTPO())).assign(by_hand([[1.0], [2.0]], [1.0, 0.0]).rollouts()), Credit)
