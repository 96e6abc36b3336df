import random

import numpy as np
import pytest
from frontier_oracle import binomial, coin_pass, point, true_pass
from hypothesis import given, settings
from hypothesis import strategies as st

from entroshape.metrics.coins import Coin, all_pair_failures, pair_failures
from entroshape.metrics.points import choice_half

WEIGHT = st.floats(0, 1)


@st.composite
def pairs(draw, most=4):
    """Two points of the same problems, with 1 to ``most`` samples each."""
    problems = draw(st.integers(1, 5))
    both = []
    for temperature in (0.5, 1.0):
        n = draw(st.integers(1, most))
        counts = draw(st.lists(st.integers(0, n), min_size=problems, max_size=problems))
        both.append(point(counts, n, temperature=temperature))
    return both


def tries(first, second):
    return st.integers(1, min(first.samples, second.samples))


@given(st.data(), pairs(), WEIGHT)
@settings(max_examples=40)
def test_pass_at_k_of_a_coin_equals_a_count_over_tosses_and_subsets(data, pair, weight):
    k = data.draw(tries(*pair))
    coin = Coin(first=pair[0], second=pair[1], weight=weight)
    assert coin.pass_at(k) == pytest.approx(coin_pass(*pair, weight, k), abs=1e-12)


def test_pass_at_k_of_a_coin_is_what_drawing_gives():
    first, second, weight, k = point([3, 0, 1, 8], 8), point([0, 2, 1, 1], 8, temperature=0.5), 0.3, 4
    generator, draws, solved = random.Random(0), 3_000, 0
    for _ in range(draws):
        for c1, c2 in zip(first.successes, second.successes, strict=True):
            j = sum(generator.random() < weight for _ in range(k))
            one = generator.sample([True] * c1 + [False] * (8 - c1), j)
            other = generator.sample([True] * c2 + [False] * (8 - c2), k - j)
            solved += any(one) or any(other)
    exact = Coin(first=first, second=second, weight=weight).pass_at(k)
    assert exact == pytest.approx(solved / (4 * draws), abs=4 * 0.5 / (4 * draws) ** 0.5)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_estimate_is_unbiased_over_all_outcomes_of_independent_samples(k):
    n, p1, p2, weight = 4, 0.15, 0.6, 0.35
    expected = sum(
        binomial(n, c1, p1)
        * binomial(n, c2, p2)
        * Coin(first=point([c1], n), second=point([c2], n, temperature=0.5), weight=weight).pass_at(k)
        for c1 in range(n + 1)
        for c2 in range(n + 1)
    )
    assert expected == pytest.approx(true_pass([(weight, p1), (1 - weight, p2)], k), abs=1e-12)


@given(st.data(), pairs())
def test_a_coin_of_weight_1_is_the_first_point_and_of_weight_0_the_second(data, pair):
    k = data.draw(tries(*pair))
    for weight, expected in ((1.0, pair[0]), (0.0, pair[1])):
        coin = Coin(first=pair[0], second=pair[1], weight=weight)
        assert coin.single is expected
        assert (coin.mean, coin.pass_at(k)) == pytest.approx((expected.mean, expected.pass_at(k)))


@given(pairs(), WEIGHT)
def test_mean_and_pass_at_1_of_a_coin_are_linear_in_the_weight(pair, weight):
    coin = Coin(first=pair[0], second=pair[1], weight=weight)
    assert coin.mean == pytest.approx(weight * pair[0].mean + (1 - weight) * pair[1].mean)
    assert coin.pass_at(1) == pytest.approx(coin.mean)


@given(st.data(), pairs(), WEIGHT)
def test_a_coin_read_from_the_other_side_is_the_same(data, pair, weight):
    k = data.draw(tries(*pair))
    one = Coin(first=pair[0], second=pair[1], weight=weight)
    other = Coin(first=pair[1], second=pair[0], weight=1 - weight)
    assert (one.mean, one.pass_at(k)) == pytest.approx((other.mean, other.pass_at(k)))


@given(st.floats(0, 1), st.floats(0, 1), WEIGHT, st.integers(1, 32))
def test_with_exact_chances_a_coin_is_at_least_the_chord(p1, p2, weight, k):
    chord = weight * true_pass([(1, p1)], k) + (1 - weight) * true_pass([(1, p2)], k)
    assert true_pass([(weight, p1), (1 - weight, p2)], k) >= chord - 1e-12


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=6), WEIGHT)
def test_with_many_samples_a_coin_is_at_least_the_chord(chances, weight):
    n, k = 1000, 8
    first = point([50 * a for a, _ in chances], n)
    second = point([50 * b for _, b in chances], n, temperature=0.5)
    chord = weight * first.pass_at(k) + (1 - weight) * second.pass_at(k)
    assert Coin(first=first, second=second, weight=weight).pass_at(k) >= chord - k * k / n


@given(st.data(), pairs(), WEIGHT, st.randoms())
def test_the_order_of_the_problems_does_not_matter(data, pair, weight, shuffler):
    k = data.draw(tries(*pair))
    order = list(range(pair[0].problems))
    shuffler.shuffle(order)
    coin = Coin(first=pair[0], second=pair[1], weight=weight)
    assert coin.select(order).pass_at(k) == pytest.approx(coin.pass_at(k))


def test_a_greedy_point_answers_the_same_every_time():
    greedy = point([1, 0], 1, temperature=0.0)
    other = point([1, 1], 4)
    coin = Coin(first=greedy, second=other, weight=0.5)
    # First problem: one greedy completion is enough. Second: greedy never helps.
    solved = 1 - sum([0.25 * 0.5, 0.0, 0.0])
    unsolved = 1 - (0.25 * 0.5 + 0.5 * 0.75 + 0.25)
    assert coin.pass_at(2) == pytest.approx((solved + unsolved) / 2)
    assert greedy.pass_at(32) == 0.5


@given(pairs(), st.floats(0, 1))
def test_the_weight_of_an_equal_mean_gives_that_mean(pair, mean):
    coin, reached = Coin(first=pair[0], second=pair[1], weight=0.5).at_mean(mean)
    low, high = sorted(each.mean for each in pair)
    assert reached == (low - 1e-9 <= mean <= high + 1e-9)
    assert coin.mean == pytest.approx(min(high, max(low, mean)))


@given(st.data(), pairs(), st.floats(0, 1))
@settings(max_examples=40)
def test_the_weight_of_an_equal_pass_has_the_highest_mean_of_those_that_reach_it(data, pair, value):
    k = data.draw(tries(*pair))
    coin, reached = Coin(first=pair[0], second=pair[1], weight=0.5).at_pass(value, k)
    every = [Coin(first=pair[0], second=pair[1], weight=w) for w in np.linspace(0, 1, 17)]
    enough = [each.mean for each in every if each.pass_at(k) >= value]
    assert reached == bool(enough)
    if enough:
        assert coin.pass_at(k) >= value - 1e-9
        assert coin.mean >= max(enough) - 1e-9
    else:
        assert coin.pass_at(k) == pytest.approx(max(each.pass_at(k) for each in every))


@given(st.data(), pairs())
def test_all_pairs_at_once_equal_each_pair(data, pair):
    k = data.draw(tries(*pair))
    every = all_pair_failures(pair, k)
    for i, first in enumerate(pair):
        for j, second in enumerate(pair):
            assert every[i, j] == pytest.approx(pair_failures(first, second, k))


def test_points_of_other_problems_and_impossible_weights_are_refused():
    with pytest.raises(ValueError, match=r"points must have the same held-out problems; got \[1, 2\]"):
        Coin(first=point([1], 4), second=point([1, 2], 4), weight=0.5)
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="weight must be"):
            Coin(first=point([1], 4), second=point([1], 4, step=2), weight=weight)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 2"):
        Coin(first=point([1], 4), second=point([1], 2), weight=0.5).pass_at(4)


def test_a_coin_over_a_half_is_the_coin_of_the_halves():
    first, second = point([1, 2, 3, 4], 4), point([0, 1, 0, 1], 4, temperature=0.5)
    half = Coin(first=first, second=second, weight=0.25).select(choice_half(4))
    assert half == Coin(first=point([1, 3], 4), second=point([0, 0], 4, temperature=0.5), weight=0.25)
