"""Clipped objectives: against the oracle, against finite differences, and in the pieces that trainers cut them into."""

import math

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAN, assert_close, masks

from entroshape.credit.surrogate import clipped_surrogate

RATIOS = ["token", "sequence_arithmetic", "sequence_geometric"]
AGGREGATIONS = ["token_mean", "sequence_mean", "constant"]
DRIFT = st.one_of(st.sampled_from([0.0, 0.5, -0.5]), st.floats(-1.5, 1.5, width=32))


@st.composite
def steps(draw, *, per_token=None, empty=True):
    """(logprobs, old_logprobs, advantages, mask): NaN where masked."""
    size, width = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    mask = draw(masks(size, width, empty=empty))
    mask[0][0] = 1
    old = [[draw(st.floats(-10.0, -2.0, width=32)) if m else NAN for m in row] for row in mask]
    new = [[v + draw(DRIFT) if m else NAN for v, m in zip(*rows, strict=True)] for rows in zip(old, mask, strict=True)]
    number = st.one_of(st.just(0.0), st.floats(-3.0, 3.0, width=32))
    if per_token is None:
        per_token = draw(st.booleans())
    if per_token:
        advantages = [[draw(number) if m else NAN for m in row] for row in mask]
    else:
        advantages = [draw(number) for _ in mask]
    return new, old, advantages, mask


def tensors(step, dtype=torch.float64):
    new, old, advantages, mask = step
    return (*(torch.tensor(x, dtype=dtype) for x in (new, old, advantages)), torch.tensor(mask))


def rows(step, selected):
    return tuple([column[i] for i in selected] for column in step)


def away_from_the_clip_s_edge(step, ratio):
    """Where w sits on 1 - eps or 1 + eps, rounding decides on which side: not what these tests are about."""
    new, old, _, mask = step
    ratios = [w for row in oracle.importance_ratios(new, old, mask, ratio) for w in row if w is not None]
    return all(min(abs(w - 0.8), abs(w - 1.28)) > 1e-5 for w in ratios)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", RATIOS)
@given(step=steps(), normalizer=st.sampled_from([None, 1, 7.5]))
def test_the_loss_matches_the_oracle(ratio, aggregation, step, normalizer):
    if aggregation == "constant" and normalizer is None:
        normalizer = 3
    options = {"ratio": ratio, "aggregation": aggregation, "normalizer": normalizer}
    loss, _ = clipped_surrogate(*tensors(step), **options)
    assert loss.item() == pytest.approx(oracle.clipped_surrogate(*step, **options), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("ratio", RATIOS)
@given(step=steps(), low=st.sampled_from([0.05, 0.2, 0.5]), high=st.sampled_from([0.1, 0.28, 1.0]))
def test_the_clip_bounds_are_used_on_their_own_sides(ratio, step, low, high):
    options = {"ratio": ratio, "epsilon_low": low, "epsilon_high": high}
    loss, _ = clipped_surrogate(*tensors(step), **options)
    assert loss.item() == pytest.approx(oracle.clipped_surrogate(*step, **options), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("ratio", RATIOS)
@given(step=steps(per_token=False))
def test_the_diagnostics_match_the_oracle(ratio, step):
    if not away_from_the_clip_s_edge(step, ratio):
        return
    _, diagnostics = clipped_surrogate(*tensors(step), ratio=ratio)
    expected = oracle.surrogate_diagnostics(*step, ratio=ratio)
    assert diagnostics.keys() == expected.keys()
    assert {k: float(v) for k, v in diagnostics.items()} == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(step=steps(per_token=True))
def test_the_diagnostics_match_the_oracle_with_an_advantage_per_token(step):
    if not away_from_the_clip_s_edge(step, "token"):
        return
    _, diagnostics = clipped_surrogate(*tensors(step))
    assert {k: float(v) for k, v in diagnostics.items()} == pytest.approx(
        oracle.surrogate_diagnostics(*step), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_gradient_matches_finite_differences(ratio, aggregation):
    generator = torch.Generator().manual_seed(3)
    old = -3 * torch.rand(5, 4, generator=generator, dtype=torch.float64) - 1
    # Ratios on both sides of both bounds, none at a kink of the objective.
    new = old + torch.linspace(-0.71, 0.73, 20, dtype=torch.float64).reshape(4, 5).T
    advantages = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])

    def loss(logprobs):
        return clipped_surrogate(logprobs, old, advantages, mask, ratio=ratio, aggregation=aggregation, normalizer=11)[
            0
        ]

    assert torch.autograd.gradcheck(loss, (new.requires_grad_(),), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("ratio", RATIOS)
def test_at_the_sampling_policy_the_gradient_is_the_policy_gradient(ratio):
    old = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]], dtype=torch.float64)
    new = old.clone().requires_grad_()
    advantages = torch.tensor([2.0, -1.0], dtype=torch.float64)
    loss, _ = clipped_surrogate(new, old, advantages, torch.ones(2, 2), ratio=ratio, aggregation="sequence_mean")
    loss.backward()
    # Every token of response i has d loss = -A_i / (|o_i| B) for the token ratio; a sequence ratio's derivative is
    # 1 / |o_i| a token and serves |o_i| terms whose mean is taken: the same.
    assert_close(new.grad, [[-0.5, -0.5], [0.25, 0.25]])


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "moves"), [(0.5, 1, False), (0.5, -1, True), (-0.5, 1, True), (-0.5, -1, False)]
)
def test_a_token_past_the_clip_has_no_gradient_only_where_moving_on_would_pay(log_ratio, advantage, moves):
    old = torch.full((1, 1), -2.0)
    new = (old + log_ratio).requires_grad_()
    loss, diagnostics = clipped_surrogate(new, old, torch.tensor([float(advantage)]), torch.ones(1, 1))
    loss.backward()
    assert bool(new.grad.any()) == moves
    assert diagnostics["clip_high"].item() == float(log_ratio > 0 and not moves)
    assert diagnostics["clip_low"].item() == float(log_ratio < 0 and not moves)


@pytest.mark.parametrize("ratio", RATIOS)
def test_no_gradient_flows_through_advantages_or_old_logprobs(ratio):
    new, old = torch.full((2, 3), -1.0, requires_grad=True), torch.full((2, 3), -1.1, requires_grad=True)
    advantages = torch.tensor([1.0, -1.0], requires_grad=True)
    loss, diagnostics = clipped_surrogate(new, old, advantages, torch.ones(2, 3), ratio=ratio)
    loss.backward()
    assert new.grad is not None
    assert old.grad is None
    assert advantages.grad is None
    assert not any(torch.as_tensor(value).requires_grad for value in diagnostics.values())


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
@pytest.mark.parametrize("ratio", RATIOS)
@given(step=steps(), data=st.data())
def test_micro_batches_with_the_whole_batch_s_normalizer_add_up_to_the_whole(ratio, aggregation, step, data):
    size = len(step[3])
    cut = data.draw(st.integers(0, size))
    total = {"token_mean": sum(map(sum, step[3])), "sequence_mean": size}[aggregation]
    options = {"ratio": ratio, "aggregation": aggregation}
    whole = tensors(step)
    whole[0].requires_grad_()
    loss, _ = clipped_surrogate(*whole, **options)
    loss.backward()
    parts, gradients = 0.0, []
    for selected in (range(cut), range(cut, size)):
        if selected:
            part = tensors(rows(step, selected))
            part[0].requires_grad_()
            piece, _ = clipped_surrogate(*part, **options, normalizer=total)
            piece.backward()
            parts += piece.item()
            gradients.append(part[0].grad)
    assert parts == pytest.approx(loss.item(), rel=1e-9, abs=1e-12)
    assert_close(torch.cat(gradients), whole[0].grad.tolist(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", RATIOS)
@given(step=steps(), extra=st.integers(1, 3), data=st.data())
def test_padding_and_the_order_of_responses_change_nothing(ratio, aggregation, step, extra, data):
    order = data.draw(st.permutations(range(len(step[3]))))
    new, old, advantages, mask = rows(step, order)
    pad = [NAN] * extra
    if isinstance(advantages[0], list):
        advantages = [a + pad for a in advantages]
    changed = ([r + pad for r in new], [r + pad for r in old], advantages, [r + [0] * extra for r in mask])
    options = {"ratio": ratio, "aggregation": aggregation, "normalizer": 5 if aggregation == "constant" else None}
    loss, _ = clipped_surrogate(*tensors(step), **options)
    again, _ = clipped_surrogate(*tensors(changed), **options)
    assert again.item() == pytest.approx(loss.item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("garbage", [NAN, math.inf, -math.inf, 1e38])
@pytest.mark.parametrize("ratio", RATIOS)
def test_masked_tokens_leak_neither_into_the_loss_nor_into_the_gradient(ratio, garbage):
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    new = torch.where(mask == 1, -1.0, garbage).requires_grad_()
    old = torch.where(mask == 1, -1.2, -garbage)
    advantages = torch.where(mask == 1, 1.0, garbage)
    loss, diagnostics = clipped_surrogate(new, old, advantages, mask, ratio=ratio)
    loss.backward()
    assert loss.item() == pytest.approx(-math.exp(0.2), rel=1e-5)
    assert bool(new.grad.isfinite().all())
    assert not new.grad[mask == 0].any()
    assert all(math.isfinite(value) for value in diagnostics.values())


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("log_ratio", [1e4, -1e4, 90.0, -90.0])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_extreme_ratios_give_finite_loss_gradient_and_diagnostics(ratio, aggregation, log_ratio, advantage):
    old = torch.full((2, 2), -5.0)
    new = torch.tensor([[-5.0 + log_ratio, -5.0], [-5.0, -5.0 + log_ratio]]).requires_grad_()
    loss, diagnostics = clipped_surrogate(
        new, old, torch.full((2,), advantage), torch.ones(2, 2), ratio=ratio, aggregation=aggregation, normalizer=4
    )
    loss.backward()
    assert loss.isfinite()
    assert bool(new.grad.isfinite().all())
    assert all(math.isfinite(value) for value in diagnostics.values())


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_batch_without_tokens_has_loss_zero_and_gradient_zero(ratio, aggregation):
    new = torch.full((2, 3), NAN, requires_grad=True)
    loss, diagnostics = clipped_surrogate(
        new,
        torch.zeros(2, 3),
        torch.ones(2),
        torch.zeros(2, 3),
        ratio=ratio,
        aggregation=aggregation,
        normalizer=2 if aggregation == "constant" else None,
    )
    loss.backward()
    assert loss.item() == 0.0
    assert not new.grad.any()
    assert all(math.isfinite(value) for value in diagnostics.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("ratio", RATIOS)
def test_any_float_dtype_is_taken_and_low_precision_is_computed_in_float32(ratio, dtype):
    new, old = torch.full((2, 2), -1.0, dtype=dtype), torch.full((2, 2), -1.25, dtype=dtype)
    loss, _ = clipped_surrogate(new, old, torch.tensor([1.0, 0.5], dtype=dtype), torch.ones(2, 2), ratio=ratio)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.item() == pytest.approx(-0.75 * 1.28, rel=1e-6)


@pytest.mark.parametrize("ratio", RATIOS)
def test_an_empty_response_adds_zero_to_the_sum_and_counts_in_the_mean_over_responses(ratio):
    zeros, mask = torch.zeros(4, 2), torch.tensor([[1, 1], [1, 0], [0, 0], [0, 0]])
    loss, diagnostics = clipped_surrogate(
        zeros, zeros, torch.tensor([1.0, 3.0, 50.0, -9.0]), mask, ratio=ratio, aggregation="sequence_mean"
    )
    assert loss.item() == -1.0
    assert diagnostics["ratio_mean"].item() == 1.0


@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float32])
def test_the_mask_is_taken_in_any_dtype(dtype):
    mask = torch.tensor([[1, 1], [1, 0]]).to(dtype)
    loss, _ = clipped_surrogate(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([1.0, 4.0]), mask)
    assert loss.item() == -2.0


def test_the_arithmetic_sequence_ratio_is_the_mean_of_the_token_ratios_and_not_the_geometric_one():
    old = torch.zeros(1, 2, dtype=torch.float64)
    new = torch.tensor([[0.5, 1.5]], dtype=torch.float64).log()
    advantage, mask = torch.ones(1, dtype=torch.float64), torch.ones(1, 2)
    _, arithmetic = clipped_surrogate(new, old, advantage, mask, ratio="sequence_arithmetic")
    _, geometric = clipped_surrogate(new, old, advantage, mask, ratio="sequence_geometric")
    assert arithmetic["ratio_mean"].item() == pytest.approx(1.0)
    assert geometric["ratio_mean"].item() == pytest.approx(math.sqrt(0.75))


@pytest.mark.parametrize("name", ["logprobs", "old_logprobs", "advantages", "mask"])
@pytest.mark.parametrize("shape", [(3, 5), (2, 4), (4,), (3, 4, 1)])
def test_shapes_that_do_not_align_are_an_error(name, shape):
    arguments = {name: torch.zeros(3, 4) for name in ("logprobs", "old_logprobs", "advantages", "mask")}
    arguments[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"must .*got \["):
        clipped_surrogate(**arguments)


def test_a_shape_error_names_the_argument_and_both_shapes():
    with pytest.raises(ValueError, match=r"^advantages must align .*\[3, 4\].*got \[4, 7\]"):
        clipped_surrogate(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(4, 7), torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ratio", "sequence"),
        ("aggregation", "mean"),
        ("epsilon_low", 0.0),
        ("epsilon_low", -0.2),
        ("epsilon_low", NAN),
        ("epsilon_high", 0.0),
        ("epsilon_high", -0.28),
        ("epsilon_high", math.inf),
        ("normalizer", 0),
        ("normalizer", -3.0),
        ("normalizer", NAN),
    ],
)
def test_an_option_value_out_of_range_is_an_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=f"^{name} must .*got"):
        clipped_surrogate(*torch.zeros(3, 2, 2), torch.ones(2, 2), **{name: value})


def test_the_constant_aggregation_without_its_constant_is_an_error():
    with pytest.raises(ValueError, match=r"normalizer.*got None"):
        clipped_surrogate(*torch.zeros(3, 2, 2), torch.ones(2, 2), aggregation="constant")
