"""Log-probability and entropy at the edges: banned tokens, one token, extreme logits, bad input."""

import math

import pytest
import torch
from entropy_cases import (
    CHUNK,
    INF,
    TEMPERATURE,
    assert_near,
    gradients,
    plain,
    plain_linear,
    random_head,
    random_logits,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from entroshape.credit.entropy import entropy, linear_logprob_and_entropy, logprob_and_entropy


@pytest.mark.parametrize("chunk", [1, 3, None])
def test_banned_tokens_have_no_probability_and_add_no_entropy(chunk):
    logits, tokens, upstream = random_logits((3, 4), 12)
    logits[..., :7] = -INF
    tokens = tokens % 5 + 7
    bias = torch.zeros(12).index_fill_(0, torch.arange(7), -INF)
    hidden, weight = random_head((3, 4), 12)[:2]
    allowed = plain(logits[..., 7:], tokens - 7)
    for a, e in zip(logprob_and_entropy(logits.requires_grad_(), tokens, chunk=chunk), allowed, strict=True):
        assert_near(a, e)
    (gradient,) = gradients(logprob_and_entropy(logits, tokens, chunk=chunk)[0], upstream, logits)
    assert torch.equal(gradient[..., :7], torch.zeros(3, 4, 7))
    actual = linear_logprob_and_entropy(hidden, weight, tokens, bias=bias, chunk=chunk)
    expected = plain_linear(hidden, weight[7:], tokens - 7)
    for a, e in zip(actual, expected, strict=True):
        assert_near(a, e)
    leaves = (hidden, weight)
    for a, e in zip(gradients(actual[0], upstream, *leaves), gradients(expected[0], upstream, *leaves), strict=True):
        assert_near(a, e)


@pytest.mark.parametrize("chunk", [1, 3, None])
def test_a_banned_token_that_was_taken_has_logprob_minus_infinity_in_its_row_alone(chunk):
    logits, tokens, upstream = random_logits((4,), 6)
    expected = plain(logits, tokens)
    logits[2, 3], tokens[2] = -INF, 3
    logprobs, entropies = logprob_and_entropy(logits.requires_grad_(), tokens, chunk=chunk)
    assert logprobs[2] == -INF
    assert entropies.isfinite().all()
    others = torch.tensor([0, 1, 3])
    assert_near(logprobs[others], expected[0][others])
    assert gradients(logprobs, upstream, logits)[0].isfinite().all()


@pytest.mark.parametrize("value", [-INF, math.nan])
def test_a_row_without_distribution_gives_nan_in_that_row_alone(value):
    logits, tokens, _ = random_logits((4,), 6)
    expected = plain(logits, tokens)
    logits[1] = value
    rows = torch.tensor([0, 2, 3])
    for a, e in zip(logprob_and_entropy(logits, tokens, chunk=12), expected, strict=True):
        assert a[1].isnan()
        assert_near(a[rows], e[rows])


def test_a_vocabulary_of_one_leaves_no_choice():
    logits, tokens, upstream = random_logits((5,), 1)
    logprobs, entropies = logprob_and_entropy(logits.requires_grad_(), tokens)
    assert torch.equal(logprobs, torch.zeros(5))
    assert torch.equal(entropies, torch.zeros(5))
    assert torch.equal(gradients(logprobs, upstream, logits)[0], torch.zeros(5, 1))


@given(st.integers(1, 100_000), TEMPERATURE, st.floats(-1e4, 1e4, width=32))
@settings(max_examples=settings().max_examples // 2)
def test_uniform_logits_have_entropy_log_v(vocabulary, temperature, level):
    logprobs, entropies = logprob_and_entropy(
        torch.full((2, vocabulary), level), torch.tensor([0, vocabulary - 1]), temperature=temperature
    )
    assert_near(entropies, torch.full((2,), math.log(vocabulary)))
    assert_near(logprobs, torch.full((2,), -math.log(vocabulary)))


@given(st.integers(-4096, 4096), CHUNK)
def test_shifting_all_logits_changes_nothing(shift, chunk):
    logits, tokens, _ = random_logits((6,), 17)
    logits = (logits * 64).round() / 64  # so that the sum is exact
    shifted = logprob_and_entropy(logits + shift, tokens, chunk=chunk)
    for a, e in zip(shifted, logprob_and_entropy(logits, tokens), strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize("magnitude", [1e4, 1e30, torch.finfo(torch.float32).max])
def test_extreme_logits_stay_finite_and_exact(magnitude):
    logits = magnitude * torch.tensor([[1.0, 1.0, -1.0, 0.0], [-1.0, 0.0, -1.0, -1.0]])
    tokens = torch.tensor([1, 1])
    logprobs, entropies = logprob_and_entropy(logits.requires_grad_(), tokens)
    assert_near(logprobs, torch.tensor([-math.log(2), 0.0]))
    assert_near(entropies, torch.tensor([math.log(2), 0.0]))
    gradient = gradients(logprobs, torch.ones(2), logits)[0]
    assert_near(gradient, torch.tensor([[-0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    hidden, weight = torch.eye(2), logits.detach().T.contiguous()
    actual = linear_logprob_and_entropy(hidden, weight, tokens, chunk=2)
    assert_near(actual[0], logprobs.detach())
    assert_near(actual[1], entropies)


@given(st.floats(0.0, 1e4, width=32), st.integers(2, 2000), CHUNK)
@settings(max_examples=settings().max_examples // 2)
def test_entropy_is_never_negative(confidence, vocabulary, chunk):
    logits = random_logits((3,), vocabulary)[0]
    logits[:, 0] += confidence
    assert (entropy(logits, chunk=chunk) >= 0).all()
    assert (
        linear_logprob_and_entropy(torch.eye(3), logits.T.contiguous(), torch.zeros(3).long(), chunk=chunk)[1] >= 0
    ).all()


def test_entropy_alone_is_the_second_result():
    logits, tokens, _ = random_logits((3, 4), 30)
    assert torch.equal(entropy(logits, temperature=0.7), logprob_and_entropy(logits, tokens, temperature=0.7)[1])


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_tokens_of_any_integer_dtype_are_taken(dtype):
    hidden, weight, _, tokens, upstream = random_head((4,), 9)
    logits = random_logits((4,), 9)[0].requires_grad_()
    for call, leaves in [
        (lambda t: logprob_and_entropy(logits, t), [logits]),
        (lambda t: linear_logprob_and_entropy(hidden, weight, t), [hidden, weight]),
    ]:
        expected, actual = call(tokens), call(tokens.to(dtype))
        assert all(map(torch.equal, expected, actual))
        assert all(map(torch.equal, gradients(expected[0], upstream, *leaves), gradients(actual[0], upstream, *leaves)))


LOGITS, TOKENS = torch.zeros(2, 3), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": torch.zeros(())}, r"logits must be floating point \[\.\.\., V\].*got \[\] of torch.float32"),
        ({"logits": torch.zeros(2, 0)}, r"logits must be .* not empty; got \[2, 0\]"),
        ({"logits": torch.zeros(2, 3).long()}, r"logits must be floating point.*got \[2, 3\] of torch.int64"),
        ({"tokens": torch.zeros(3).long()}, r"tokens must .*expected \[2\], got \[3\]"),
        ({"tokens": torch.zeros(2)}, r"tokens must be integers; got torch.float32"),
        ({"tokens": torch.ones(2).bool()}, r"tokens must be integers; got torch.bool"),
        ({"tokens": torch.tensor([0, 3])}, r"tokens must be in \[0, 3\).*got values from 0 to 3"),
        ({"tokens": torch.tensor([-100, 1])}, r"tokens must be in \[0, 3\).*got values from -100 to 1"),
        ({"temperature": 0.0}, r"temperature must be .*got 0.0"),
        ({"temperature": -1.0}, r"temperature must be .*got -1.0"),
        ({"temperature": INF}, r"temperature must be .*got inf"),
        ({"temperature": math.nan}, r"temperature must be .*got nan"),
        ({"chunk": 0}, r"chunk must be a whole number of at least 1; got 0"),
        ({"chunk": 2.0}, r"chunk must be a whole number of at least 1; got 2.0"),
        ({"chunk": True}, r"chunk must be a whole number of at least 1; got True"),
    ],
)
def test_bad_input_from_logits_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        logprob_and_entropy(**{"logits": LOGITS, "tokens": TOKENS, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": torch.zeros(())}, r"hidden must be floating point \[\.\.\., D\]"),
        ({"hidden": torch.zeros(2, 4).long()}, r"hidden must be floating point"),
        ({"weight": torch.zeros(3, 5)}, r"weight must be \[V, 4\] of torch.float32.*got \[3, 5\]"),
        ({"weight": torch.zeros(4)}, r"weight must be \[V, 4\].*got \[4\]"),
        ({"weight": torch.zeros(0, 4)}, r"weight must be \[V, 4\].*got \[0, 4\]"),
        ({"weight": torch.zeros(3, 4).double()}, r"weight must be \[V, 4\] of torch.float32.*torch.float64"),
        ({"bias": torch.zeros(4)}, r"bias must be \[3\] of torch.float32.*got \[4\]"),
        ({"bias": torch.zeros(3).half()}, r"bias must be \[3\] of torch.float32.*torch.float16"),
        ({"tokens": torch.tensor([0])}, r"tokens must .*expected \[2\], got \[1\]"),
        ({"tokens": torch.tensor([0, 3])}, r"tokens must be in \[0, 3\)"),
        ({"temperature": 0}, r"temperature must be .*got 0"),
        ({"chunk": -1}, r"chunk must be a whole number of at least 1; got -1"),
    ],
)
def test_bad_input_from_hidden_is_refused_by_name(arguments, message):
    defaults = {"hidden": torch.zeros(2, 4), "weight": torch.zeros(3, 4), "tokens": TOKENS}
    with pytest.raises(ValueError, match=message):
        linear_logprob_and_entropy(**{**defaults, **arguments})
