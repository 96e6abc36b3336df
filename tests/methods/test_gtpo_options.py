"""GTPO's readings of an ambiguous text (normalisation, scope, gate, clip, threshold), and options out of range."""

import dataclasses
import math

import oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    NAN,
    NORMALIZING,
    SCOPE,
    assert_close,
    batches,
    by_hand,
    token_tolerances,
)

from entroshape import GTPO


def test_within_with_equal_entropies_gives_right_and_wrong_alike_nothing():
    batch = by_hand([[0.5, 2.0], [0.5, 2.0], [0.5, 2.0], [0.5, 2.0]], [1.0, 1.0, 0.0, 0.0])
    assert not GTPO(normalization="within").advantages(batch.rollouts()).any()
    assert bool(GTPO().advantages(batch.rollouts())[:2].min() > 0)


def test_within_pushes_high_entropy_tokens_up_in_right_and_in_wrong_responses():
    batch = by_hand([[0.5], [1.0], [2.0], [0.5], [1.0], [2.0]], [1.0] * 3 + [0.0] * 3)
    within = GTPO(normalization="within").advantages(batch.rollouts()).flatten().tolist()
    assert within[0] < within[1] < within[2]
    assert within[3] < within[4] < within[5]
    assert within[0] < 0 < within[5]  # a certain token of a right answer is pushed down, a wrong answer's up


@given(batch=batches(mixed=True))
def test_within_has_no_correlation_with_the_outcome(batch):
    credit = GTPO(normalization="within").assign(batch.rollouts())
    mask = torch.tensor(batch.mask) == 1
    atol = token_tolerances(batch, credit.shaped_rewards.tolist(), batch.success, "within")
    for a in set(batch.group):
        for outcome in (True, False):
            rows = [i for i in range(batch.size) if batch.group[i] == a and batch.success[i] == outcome]
            mean = credit.advantages[rows][mask[rows]].double().mean().item()
            assert mean == pytest.approx(0.0, abs=atol[rows[0]])


def test_batch_scope_compares_entropies_across_questions():
    batch = dataclasses.replace(by_hand([[1.0], [3.0]], [1.0, 1.0]), group=[0, 1])
    shape = {"alpha1": 0.0, "alpha2": 1.0}
    assert GTPO(**shape).shaped_rewards(batch.rollouts()).tolist() == [[1.0], [1.0]]
    assert GTPO(**shape, comparison_scope="batch").shaped_rewards(batch.rollouts()).tolist() == [[0.5], [1.5]]


def test_batch_scope_normalises_and_gates_over_all_questions():
    batch = dataclasses.replace(by_hand([[1.0]] * 4, [1.0, 1.0, 0.0, 0.0]), group=[0, 0, 1, 1])
    assert GTPO().assign(batch.rollouts()).gated.tolist() == [True] * 4
    credit = GTPO(normalization_scope="batch").assign(batch.rollouts())
    assert credit.gated.tolist() == [False] * 4
    assert_close(credit.advantages, [[s * math.sqrt(3) / 2] for s in (1, 1, -1, -1)])


@given(batch=batches(rewards="graded"), normalization=NORMALIZING["normalization"], scope=SCOPE)
def test_the_gate_silences_exactly_the_sets_of_one_outcome(batch, normalization, scope):
    options = {"normalization": normalization, "normalization_scope": scope}
    gated, open_ = GTPO(**options).assign(batch.rollouts()), GTPO(**options, gate=False).assign(batch.rollouts())
    sets = oracle.sets_of(batch.group, scope)
    expected = [oracle.token_gated(i, batch.mask, batch.success, sets) for i in range(batch.size)]
    assert gated.gated.tolist() == expected
    for i, silent in enumerate(expected):
        assert torch.equal(gated.advantages[i], torch.zeros(batch.width) if silent else open_.advantages[i])


def test_without_the_gate_entropy_noise_is_blown_up_to_unit_variance():
    batch = by_hand([[1.0], [1.01], [1.02], [1.03]], [1.0] * 4)
    got = GTPO(gate=False).advantages(batch.rollouts())
    assert got.std().item() == pytest.approx(1.0, rel=1e-2)
    assert not GTPO().advantages(batch.rollouts()).any()


def test_an_empty_response_has_no_say_in_the_gate():
    batch = by_hand([[1.0], [2.0], [NAN]], [1.0, 1.0, 0.0], [[1], [1], [0]])
    credit = GTPO().assign(batch.rollouts())
    assert credit.gated.tolist() == [True] * 3
    assert not credit.advantages.any()


@given(batch=batches(), low=st.sampled_from([0.1, 0.2]), high=st.sampled_from([0.28, 1.0]))
def test_the_entropy_clip_clamps_before_the_shaping(batch, low, high):
    clamped = batch.with_entropies([[min(max(h, low), high) for h in row] for row in batch.entropies])
    assert_close(
        GTPO(entropy_clip=(low, high)).shaped_rewards(batch.rollouts()),
        GTPO().shaped_rewards(clamped.rollouts()).tolist(),
    )


def test_an_entropy_clip_from_a_configuration_file_s_list_is_the_same_option():
    assert GTPO(entropy_clip=[0.2, 0.28]) == GTPO(entropy_clip=(0.2, 0.28))
    assert hash(GTPO(entropy_clip=[0.2, 0.28])) == hash(GTPO(entropy_clip=(0.2, 0.28)))


def test_an_entropy_a_rounding_error_below_zero_counts_as_the_floor():
    below, floor = by_hand([[-1e-5], [1.0]], [1.0, 1.0]), by_hand([[1e-6], [1.0]], [1.0, 1.0])
    assert torch.equal(GTPO().shaped_rewards(below.rollouts()), GTPO().shaped_rewards(floor.rollouts()))


def test_a_reward_at_the_threshold_is_a_failure():
    batch = by_hand([[1.0], [1.0]], [0.5, 0.75])
    credit = GTPO().assign(batch.rollouts())
    assert credit.success.tolist() == [False, True]
    assert_close(credit.shaped_rewards, [[-1.1], [0.85]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha1", -0.1),
        ("alpha1", NAN),
        ("alpha2", -1),
        ("alpha2", math.inf),
        ("alpha2", "0.1"),
        ("normalization", "per_class"),
        ("comparison_scope", "prompt"),
        ("normalization_scope", "global"),
        ("axis", "col"),
        ("mean", "harmonic"),
        ("signal", "entropies"),
        ("entropy_clip", (0.3, 0.2)),
        ("entropy_clip", (-0.1, 0.2)),
        ("entropy_clip", (0.1, NAN)),
        ("entropy_clip", 0.2),
        ("entropy_clip", (0.1, 0.2, 0.3)),
        ("entropy_floor", 0.0),
        ("entropy_floor", 1e-44),  # its inverse is not a float32
        ("entropy_floor", -1e-6),
        ("entropy_floor", NAN),
        ("gate", "yes"),
        ("success_threshold", NAN),
        ("success_threshold", "half"),
        ("failure_reward", NAN),
        ("overlong", "soft"),
        ("epsilon_low", 0.0),
        ("epsilon_low", -0.2),
        ("epsilon_high", 0.0),
        ("epsilon_high", -0.28),
    ],
)
def test_an_option_value_out_of_range_is_an_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=rf"^{name}.*must .*got"):
        GTPO(**{name: value})


def test_rollouts_without_what_the_signal_needs_are_an_error_that_names_it():
    batch = by_hand([[1.0], [2.0]], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"^logprobs must .*got None"):
        GTPO(signal="surprisal").advantages(batch.rollouts())
    with pytest.raises(ValueError, match=r"^entropies must .*got None"):
        GTPO().advantages(batch.rollouts(entropies=None))


def test_options_are_keyword_only_and_frozen():
    with pytest.raises(TypeError):
        GTPO(1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        GTPO().alpha2 = 0.5


def test_the_objective_is_equation_7():
    surrogate = GTPO(epsilon_low=0.1, epsilon_high=0.3).surrogate
    assert (surrogate.ratio, surrogate.aggregation) == ("token", "token_mean")
    assert (surrogate.epsilon_low, surrogate.epsilon_high) == (0.1, 0.3)
