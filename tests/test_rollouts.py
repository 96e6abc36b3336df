"""Rollouts: what is let in at the door, what is turned away, and with which words."""

import dataclasses
import re

import pytest
import torch

from entroshape import Rollouts

NAN, INF = float("nan"), float("inf")


def good(**overrides):
    arguments = {
        "rewards": torch.tensor([1.0, 0.0, 0.0]),
        "entropies": torch.tensor([[0.5, 1.0], [0.25, 2.0], [1.5, 0.75]]),
        "mask": torch.tensor([[1, 1], [1, 0], [0, 0]]),
        "group": torch.tensor([4, -2, 4]),
    }
    return {**arguments, **overrides}


def turned_away(name, **overrides):
    """The error names the argument first and says what came."""
    return pytest.raises(ValueError, match=rf"^{re.escape(name)} must .*got "), good(**overrides)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewards", torch.zeros(2)),
        ("rewards", torch.zeros(3, 1)),
        ("entropies", torch.zeros(3)),
        ("entropies", torch.zeros(3, 3)),
        ("entropies", torch.zeros(2, 2)),
        ("mask", torch.ones(3)),
        ("mask", torch.ones(3, 2, 1)),
        ("group", torch.zeros(2, dtype=torch.long)),
        ("group", torch.zeros(3, 2, dtype=torch.long)),
        ("logprobs", torch.zeros(3, 1)),
        ("success", torch.ones(2, dtype=torch.bool)),
    ],
)
def test_wrong_shape_is_an_error_that_names_the_argument(name, value):
    error, arguments = turned_away(name, **{name: value})
    with error:
        Rollouts(**arguments)


def test_a_mask_of_another_shape_is_an_error_that_gives_both_shapes():
    with pytest.raises(ValueError, match=r"mask.*\[3, 5\].*\[3, 2\]|\[3, 2\].*\[3, 5\]"):
        Rollouts(**good(mask=torch.ones(3, 5)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group", torch.zeros(3)),
        ("group", torch.zeros(3, dtype=torch.bool)),
        ("rewards", torch.tensor([True, False, True])),
        ("rewards", torch.zeros(3, dtype=torch.complex64)),
        ("entropies", torch.zeros(3, 2, dtype=torch.long)),
        ("entropies", torch.zeros(3, 2, dtype=torch.complex64)),
        ("logprobs", torch.zeros(3, 2, dtype=torch.long)),
        ("success", torch.ones(3)),
        ("success", torch.ones(3, dtype=torch.long)),
        ("mask", torch.ones(3, 2, dtype=torch.complex64)),
    ],
)
def test_wrong_dtype_is_an_error_that_names_the_argument(name, value):
    error, arguments = turned_away(name, **{name: value})
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("name", ["rewards", "mask", "group", "entropies", "logprobs", "success"])
def test_something_that_is_no_tensor_is_an_error_that_names_the_argument(name):
    error, arguments = turned_away(name, **{name: [1.0, 0.0, 0.0]})
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("name", ["rewards", "mask", "group"])
def test_none_is_an_error_where_the_argument_is_required(name):
    error, arguments = turned_away(name, **{name: None})
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("name", ["rewards", "entropies", "group"])
def test_tensors_on_two_devices_are_an_error_that_names_the_argument(name):
    error, arguments = turned_away(name, **{name: good()[name].to("meta")})
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("row", [0, 2])
def test_a_reward_that_is_not_finite_is_an_error_even_for_an_empty_response(value, row):
    rewards = torch.zeros(3)
    rewards[row] = value
    error, arguments = turned_away("rewards", rewards=rewards)
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("name", ["entropies", "logprobs"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_on_an_unmasked_token_is_an_error_that_says_where(name, value):
    values = torch.zeros(3, 2)
    values[1, 0] = value
    error, arguments = turned_away(name, **{name: values})
    with error as caught:
        Rollouts(**arguments)
    assert "[1, 0]" in str(caught.value)


@pytest.mark.parametrize("value", [-0.01, -1.0, -1e6])
def test_a_negative_entropy_on_an_unmasked_token_is_an_error(value):
    error, arguments = turned_away("entropies", entropies=torch.tensor([[0.5, value], [0.0, 0.0], [0.0, 0.0]]))
    with error:
        Rollouts(**arguments)


def test_an_entropy_a_rounding_error_below_zero_is_taken():
    Rollouts(**good(entropies=torch.tensor([[0.5, -1e-6], [-1e-5, 0.0], [0.0, 0.0]])))


def test_a_positive_logprob_on_an_unmasked_token_is_an_error():
    error, arguments = turned_away("logprobs", logprobs=torch.full((3, 2), 0.5))
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("value", [NAN, INF, -INF, -5.0])
def test_masked_tokens_may_hold_anything(value):
    values = torch.full((3, 2), value)
    entropies = torch.where(good()["mask"].bool(), good()["entropies"], values)
    logprobs = torch.where(good()["mask"].bool(), -good()["entropies"], values.abs())
    Rollouts(**good(entropies=entropies, logprobs=logprobs))


@pytest.mark.parametrize("value", [2, -1, 255])
def test_an_integer_mask_that_is_not_0_or_1_is_an_error(value):
    error, arguments = turned_away("mask", mask=torch.tensor([[1, 1], [1, value], [0, 0]]))
    with error as caught:
        Rollouts(**arguments)
    assert str(value) in str(caught.value)


@pytest.mark.parametrize("value", [0.5, NAN, INF, 1.0000001])
def test_a_float_mask_that_is_not_0_or_1_is_an_error(value):
    error, arguments = turned_away("mask", mask=torch.tensor([[1, 1], [1, value], [0, 0]]))
    with error:
        Rollouts(**arguments)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.long, torch.float32, torch.bfloat16])
def test_a_mask_of_0_and_1_is_taken_in_any_dtype(dtype):
    rollouts = Rollouts(**good(mask=good()["mask"].to(dtype)))
    assert rollouts.mask.tolist() == [[True, True], [True, False], [False, False]]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.long])
def test_group_ids_are_taken_in_any_integer_dtype(dtype):
    assert Rollouts(**good(group=good()["group"].to(dtype))).group.tolist() == [4, -2, 4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_everything_is_float32_inside_whatever_float_comes_in(dtype):
    rollouts = Rollouts(
        **good(
            rewards=good()["rewards"].to(dtype),
            entropies=good()["entropies"].to(dtype),
            logprobs=-good()["entropies"].to(dtype),
        )
    )
    assert (rollouts.rewards.dtype, rollouts.entropies.dtype, rollouts.logprobs.dtype) == (torch.float32,) * 3
    assert torch.equal(rollouts.entropies, good()["entropies"])


def test_integer_rewards_are_taken():
    assert Rollouts(**good(rewards=torch.tensor([1, 0, 0]))).rewards.tolist() == [1.0, 0.0, 0.0]


def test_nothing_is_copied_where_the_dtype_is_right():
    arguments = good(
        mask=good()["mask"].bool(), logprobs=-good()["entropies"], success=torch.zeros(3, dtype=torch.bool)
    )
    rollouts = Rollouts(**arguments)
    for name, value in arguments.items():
        assert getattr(rollouts, name).data_ptr() == value.data_ptr(), name


def test_the_caller_s_tensors_are_not_changed():
    arguments = good(mask=good()["mask"].float())
    before = {name: value.clone() for name, value in arguments.items()}
    Rollouts(**arguments)
    for name, value in arguments.items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name


def test_rollouts_carry_no_gradient():
    entropies = good()["entropies"].requires_grad_()
    rollouts = Rollouts(**good(entropies=entropies, rewards=good()["rewards"].requires_grad_()))
    assert not rollouts.entropies.requires_grad
    assert not rollouts.rewards.requires_grad


def test_rollouts_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Rollouts(**good()).rewards = torch.zeros(3)


def test_length_is_the_number_of_unmasked_tokens_and_counts_holes_out():
    rollouts = Rollouts(
        **good(entropies=torch.ones(3, 4), mask=torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]))
    )
    assert rollouts.lengths.tolist() == [3, 2, 0]
    assert len(rollouts) == 3
