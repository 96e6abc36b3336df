"""Log-probability and entropy, from logits and from hidden states: held to the plain formula and to autograd."""

import math

import pytest
import torch
import torch.nn.functional as F
from entropy_cases import (
    CHUNK,
    TEMPERATURE,
    LargeStorages,
    assert_near,
    gradients,
    plain,
    plain_linear,
    random_head,
    random_logits,
)
from hypothesis import given
from hypothesis import strategies as st

from entroshape.credit.entropy import entropy, linear_logprob_and_entropy, logprob_and_entropy

LEADING = st.sampled_from([(), (1,), (7,), (2, 3), (0,), (2, 0), (2, 1, 3)])


@given(LEADING, st.integers(1, 40), TEMPERATURE, CHUNK, st.integers(0, 99))
def test_from_logits_equals_the_plain_formula_and_its_autograd(leading, vocabulary, temperature, chunk, seed):
    logits, tokens, upstream = random_logits(leading, vocabulary, seed)
    logits.requires_grad_()
    actual = logprob_and_entropy(logits, tokens, temperature=temperature, chunk=chunk)
    reference = logits.detach().double().requires_grad_()
    expected = plain(reference, tokens, temperature)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == tokens.shape
        assert a.dtype == torch.float32
        assert_near(a, e)
    (gradient,) = gradients(actual[0], upstream, logits)
    assert_near(gradient, *gradients(expected[0], upstream.double(), reference))


@given(LEADING, st.integers(1, 40), TEMPERATURE, CHUNK, st.booleans(), st.integers(0, 99))
def test_from_hidden_equals_the_plain_formula_and_its_autograd(leading, vocabulary, temperature, chunk, biased, seed):
    *leaves, tokens, upstream = random_head(leading, vocabulary, seed=seed)
    leaves = leaves if biased else leaves[:2]
    actual = linear_logprob_and_entropy(
        *leaves[:2], tokens, temperature=temperature, bias=leaves[2] if biased else None, chunk=chunk
    )
    references = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = plain_linear(*references[:2], tokens, temperature, references[2] if biased else None)
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == tokens.shape
        assert a.dtype == torch.float32
        assert_near(a, e)
    expected_gradients = gradients(expected[0], upstream.double(), *references)
    for a, e in zip(gradients(actual[0], upstream, *leaves), expected_gradients, strict=True):
        assert_near(a, e, atol=1e-4)


def test_large_vocabulary_in_default_tiles_equals_the_plain_formula():
    hidden, weight, bias, tokens, upstream = random_head((3, 11), 150_001, width=8)
    expected = plain_linear(hidden.double(), weight.double(), tokens, 0.8, bias.double())
    actual = linear_logprob_and_entropy(hidden, weight, tokens, temperature=0.8, bias=bias)
    for a, e in zip(actual, expected, strict=True):
        assert_near(a, e)
    leaves = (hidden, weight, bias)
    for a, e in zip(gradients(actual[0], upstream, *leaves), gradients(expected[0], upstream, *leaves), strict=True):
        assert_near(a, e, atol=1e-4)
    logits = F.linear(hidden, weight, bias).detach()
    for a, e in zip(logprob_and_entropy(logits, tokens, temperature=0.8), expected, strict=True):
        assert_near(a, e)


@given(st.integers(1, 200), st.integers(1, 200))
def test_chunk_changes_nothing_beyond_rounding(first, second):
    logits, tokens, _ = random_logits((6,), 23)
    hidden, weight, bias, *_ = random_head((6,), 23)
    for a, b in zip(*(logprob_and_entropy(logits, tokens, chunk=c) for c in (first, second)), strict=True):
        assert_near(a, b, atol=2e-6)
    both = (linear_logprob_and_entropy(hidden, weight, tokens, bias=bias, chunk=c) for c in (first, second))
    for a, b in zip(*both, strict=True):
        assert_near(a, b, atol=2e-6)


def test_double_inputs_are_computed_in_double():
    logits, tokens, _ = random_logits((5,), 31, dtype=torch.float64)
    hidden, weight, *_ = random_head((5,), 31, dtype=torch.float64)
    for actual, expected in [
        (logprob_and_entropy(logits, tokens, chunk=40), plain(logits, tokens)),
        (linear_logprob_and_entropy(hidden, weight, tokens, chunk=40), plain_linear(hidden, weight, tokens)),
    ]:
        for a, e in zip(actual, expected, strict=True):
            assert a.dtype == torch.float64
            assert_near(a, e, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_lose_nothing_more_than_they_have_lost(dtype):
    logits, tokens, upstream = random_logits((2, 9), 300, dtype=dtype)
    logits.requires_grad_()
    reference = logits.detach().float().requires_grad_()
    actual, expected = logprob_and_entropy(logits, tokens, chunk=1000), plain(reference, tokens)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == torch.float32
        assert_near(a, e)
    (gradient,) = gradients(actual[0], upstream.float(), logits)
    assert gradient.dtype == dtype
    assert_near(gradient.float(), *gradients(expected[0], upstream.float(), reference), rtol=8e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_hidden_states_are_as_near_the_truth_as_the_plain_path(dtype):
    *leaves, tokens, upstream = random_head((4, 16), 300, width=32, dtype=dtype)
    actual = linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2], chunk=999)
    usual = plain(F.linear(*leaves).float(), tokens)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    truth = plain_linear(*exact[:2], tokens, bias=exact[2])
    for a, u, t in zip(actual, usual, truth, strict=True):
        assert a.dtype == torch.float32
        assert (a - t).abs().max() <= 1.2 * (u - t).abs().max() + 1e-5
    for a, u, t in zip(
        gradients(actual[0], upstream.float(), *leaves),
        gradients(usual[0], upstream.float(), *leaves),
        gradients(truth[0], upstream.double(), *exact),
        strict=True,
    ):
        assert a.dtype == dtype
        assert (a - t).norm() <= 1.2 * (u - t).norm() + 1e-5


def test_gradient_from_logits_matches_finite_differences():
    logits, tokens, _ = random_logits((2, 3), 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: logprob_and_entropy(x, tokens, temperature=0.6, chunk=9)[0], logits.requires_grad_()
    )


@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_gradient_from_hidden_matches_finite_differences(chunk):
    *leaves, tokens, _ = random_head((2, 3), 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w, b: linear_logprob_and_entropy(h, w, tokens, temperature=0.6, bias=b, chunk=chunk)[0], leaves
    )


def test_no_gradient_flows_through_the_entropy():
    logits, tokens, upstream = random_logits((4,), 9)
    logits.requires_grad_()
    hidden, weight, *_ = random_head((4,), 9)
    for results, leaves in [
        (logprob_and_entropy(logits, tokens), [logits]),
        (linear_logprob_and_entropy(hidden, weight, tokens), [hidden, weight]),
    ]:
        logprobs, entropies = results
        assert logprobs.requires_grad
        assert not entropies.requires_grad
        alone = torch.autograd.grad(logprobs, leaves, upstream, retain_graph=True)
        with_entropy = torch.autograd.grad((upstream * logprobs + entropies).sum(), leaves)
        assert all(map(torch.equal, alone, with_entropy))
    assert not entropy(logits).requires_grad


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1)])
def test_each_gradient_is_the_same_whichever_others_are_needed(needed):
    *leaves, tokens, upstream = random_head((6,), 20)
    everything = gradients(
        linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2], chunk=50)[0], upstream, *leaves
    )
    some = [leaf.detach().requires_grad_(i in needed) for i, leaf in enumerate(leaves)]
    linear_logprob_and_entropy(*some[:2], tokens, bias=some[2], chunk=50)[0].backward(upstream)
    for i, leaf in enumerate(some):
        if i in needed:
            assert torch.equal(leaf.grad, everything[i])
        else:
            assert leaf.grad is None


def test_frozen_weight_makes_the_backward_pass_free_of_the_vocabulary():
    hidden, weight, _, tokens, upstream = random_head((6,), 1000)
    logprobs, _ = linear_logprob_and_entropy(hidden, weight.detach(), tokens)
    with LargeStorages(1000) as mode:
        logprobs.backward(upstream)
    assert hidden.grad is not None
    assert not mode.seen
    assert not mode.operations & {"mm", "addmm", "linear", "mkldnn_linear", "_mkldnn_linear", "exp2_", "exp2"}


def test_bias_alone_makes_no_gradient_of_the_weights_size():
    hidden, weight, bias, tokens, upstream = random_head((6,), 100, width=40)
    logprobs, _ = linear_logprob_and_entropy(hidden.detach(), weight.detach(), tokens, bias=bias, chunk=60)
    with LargeStorages(weight.numel() // 2, weight) as mode:
        (gradient,) = gradients(logprobs, upstream, bias)
    assert gradient.shape == bias.shape
    assert not mode.seen


@pytest.mark.slow
def test_half_precision_weight_gradient_is_summed_in_float32():
    weight = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    hidden, tokens = torch.ones(2048, 1, dtype=torch.bfloat16), torch.zeros(2048, dtype=torch.long)
    linear_logprob_and_entropy(hidden, weight, tokens, chunk=2)[0].sum().backward()
    assert weight.grad.tolist() == [[1024.0], [-1024.0]]  # in bfloat16, 128 + 0.5 is 128


def test_tokens_without_upstream_gradient_may_hold_anything():
    *leaves, tokens, upstream = random_head((8,), 20)
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1]).bool()
    poisoned = leaves[0].detach().clone()
    poisoned[~mask] = math.nan
    expected = gradients(
        linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2])[0], upstream.where(mask, 0.0), *leaves
    )
    leaves[0] = poisoned.requires_grad_()
    logprobs, entropies = linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2])
    assert torch.equal(logprobs.isfinite() & entropies.isfinite(), mask)
    for a, e in zip(gradients(logprobs, upstream.where(mask, 0.0), *leaves), expected, strict=True):
        assert_near(a, e)


def test_backward_twice_gives_the_same_gradient_twice():
    *leaves, tokens, upstream = random_head((8,), 20)
    logits = random_logits((8,), 20)[0].requires_grad_()
    for inputs, logprobs in [
        (leaves, linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2])[0]),
        ([logits], logprob_and_entropy(logits, tokens)[0]),
    ]:
        first = torch.autograd.grad(logprobs, inputs, upstream, retain_graph=True)
        second = torch.autograd.grad(logprobs, inputs, upstream)
        assert all(map(torch.equal, first, second))


def test_logits_changed_in_place_before_backward_are_noticed():
    logits, tokens, upstream = random_logits((4,), 9)
    leaf = logits.requires_grad_()
    scaled = leaf * 1.0
    logprobs, _ = logprob_and_entropy(scaled, tokens)
    scaled.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logprobs.backward(upstream)


def test_without_grad_mode_nothing_is_recorded():
    *leaves, tokens, _ = random_head((4,), 9)
    with torch.no_grad():
        logprobs, entropies = linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2])
    assert not logprobs.requires_grad
    for a, e in zip((logprobs, entropies), plain_linear(*leaves[:2], tokens, bias=leaves[2]), strict=True):
        assert_near(a, e)


def test_autocast_does_what_it_does_to_a_linear_layer():
    *leaves, tokens, upstream = random_head((4, 8), 50, width=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = linear_logprob_and_entropy(*leaves[:2], tokens, bias=leaves[2])
        expected = plain(F.linear(*leaves).float(), tokens)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == torch.float32
        assert_near(a, e, atol=1e-5)
    for leaf, a, e in zip(
        leaves, gradients(actual[0], upstream, *leaves), gradients(expected[0], upstream, *leaves), strict=True
    ):
        assert a.dtype == leaf.dtype
        assert (a - e).norm() <= 0.02 * e.norm()


def test_from_logits_makes_nothing_of_the_logits_size_but_their_gradient():
    logits, tokens, upstream = random_logits((4, 16), 500)
    logits.requires_grad_()
    with LargeStorages(logits.numel() // 2, logits) as forward:
        logprobs, _ = logprob_and_entropy(logits, tokens, chunk=2000)
    assert not forward.seen
    with LargeStorages(logits.numel() // 2, logits) as backward:
        gradients(logprobs, upstream, logits)
    assert len(backward.seen) == 1


@pytest.mark.parametrize("view", ["shifted", "transposed"])
def test_strided_logits_are_never_copied_whole(view):
    logits, tokens, _ = random_logits((4, 17), 500)
    logits = logits[:, :-1] if view == "shifted" else logits.transpose(0, 1)[:, :4]
    tokens = tokens[:, :16] if view == "shifted" else tokens.T[:, :4]
    with LargeStorages(logits.numel() // 2, logits) as mode:
        actual = logprob_and_entropy(logits, tokens, chunk=2000)
    assert not mode.seen
    for a, e in zip(actual, plain(logits, tokens), strict=True):
        assert_near(a, e)


def test_from_hidden_makes_nothing_larger_than_a_tile_but_the_gradients():
    hidden, weight, bias, tokens, upstream = random_head((4, 64), 1500, width=4)
    chunk = 20_000  # of 384,000 logits
    with LargeStorages(chunk + 1, hidden, weight) as mode:
        linear_logprob_and_entropy(hidden, weight, tokens, bias=bias, chunk=chunk)[0].backward(upstream)
    assert weight.grad.numel() < chunk
    assert not mode.seen
