import random
from itertools import combinations

import numpy as np
import pytest
from frontier_oracle import at_least, point, true_pass
from hypothesis import given, settings
from hypothesis import strategies as st

from entroshape.metrics.frontier import Hull


@st.composite
def hulls(draw, most=4):
    problems, n = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    counts = st.lists(st.integers(0, n), min_size=problems, max_size=problems)
    points = [point(draw(counts), n, step=step) for step in range(1, draw(st.integers(1, most)) + 1)]
    return Hull(tuple(points), k=draw(st.integers(1, n)))


@given(hulls(most=3), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_the_best_coin_at_a_mean_is_that_of_all_pairs_and_weights(hull, mean):
    coin = hull.at_mean(mean)
    expected = at_least(hull.points, mean, hull.k, steps=200)
    if expected < 0:
        # The oracle's grid of weights may miss a mean next to the highest one.
        assert coin is None or coin.mean == pytest.approx(hull.range[1], abs=0.01)
        return
    assert coin.mean >= mean - 1e-9
    assert coin.pass_at(hull.k) >= expected - 1e-3
    assert coin.pass_at(hull.k) <= at_least(hull.points, coin.mean - 0.006, hull.k, steps=200) + 1e-3


@given(hulls())
def test_no_point_of_the_hull_is_above_it(hull):
    for each in hull.points:
        assert hull.at_mean(each.mean).pass_at(hull.k) >= each.pass_at(hull.k) - 1e-9
        assert hull.at_pass(each.pass_at(hull.k)).mean >= each.mean - 1e-9


@given(hulls(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_mean_never_has_a_higher_pass(hull, one, other):
    low, high = (hull.at_mean(mean) for mean in sorted((one, other)))
    if high:
        # Weights that are free are compared on a grid.
        assert low.pass_at(hull.k) >= high.pass_at(hull.k) - 1e-3


@given(hulls(), st.floats(0, 1))
def test_a_coin_at_a_pass_reaches_it_and_no_coin_of_the_hull_does_so_with_a_higher_mean(hull, value):
    coin = hull.at_pass(value)
    if coin is None:
        assert hull.highest_pass().pass_at(hull.k) < value
        return
    assert coin.pass_at(hull.k) >= value - 1e-8
    beyond = hull.at_mean(coin.mean + 0.02)
    assert beyond is None or beyond.pass_at(hull.k) <= value + 1e-9


@given(hulls(), st.floats(0, 1), st.randoms())
def test_the_order_of_problems_and_points_does_not_matter(hull, mean, shuffler):
    order = list(range(hull.points[0].problems))
    shuffler.shuffle(order)
    points = [each.select(order) for each in hull.points]
    shuffler.shuffle(points)
    one, other = hull.at_mean(mean), Hull(tuple(points), hull.k).at_mean(mean)
    assert (one is None) == (other is None)
    if one:
        assert other.pass_at(hull.k) == pytest.approx(one.pass_at(hull.k))


def test_a_mean_beyond_all_points_has_no_coin():
    hull = Hull((point([1, 0], 4), point([2, 2], 4, step=2)), k=2)
    assert hull.at_mean(0.51) is None
    assert hull.at_mean(0.5).mean == 0.5
    assert hull.highest_mean().single == hull.points[1]


def test_a_point_that_is_worse_in_both_is_never_part_of_a_coin():
    good, bad, other = point([3, 3], 4), point([1, 0], 4, step=2), point([4, 0], 4, step=3)
    hull = Hull((good, bad, other), k=2)
    for mean in np.linspace(0, 0.75, 16):
        coin = hull.at_mean(mean)
        assert bad not in (coin.first, coin.second) or coin.single == good


def test_points_that_do_not_form_a_hull_are_refused():
    with pytest.raises(ValueError, match="points of a hull must be at least one"):
        Hull((), k=2)
    with pytest.raises(ValueError, match=r"must differ in weights, step or temperature; got \('last', 1, 1.0\) twice"):
        Hull((point([1], 4), point([2], 4)), k=2)
    with pytest.raises(ValueError, match="same held-out problems"):
        Hull((point([1], 4), point([2, 1], 4, step=2)), k=2).at_mean(0.1)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 4"):
        Hull((point([1], 4),), k=8).at_mean(0.1)


def chances(difficulty, temperatures=(0.2, 0.4, 0.6, 1.0)):
    """``[T, P]`` success probabilities: sampled colder, a model solves middling problems always and hard ones never."""
    return [1 / (1 + np.exp(-(difficulty + 2.5 * (1 - t)) / t)) for t in temperatures]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coins_of_three_points_add_less_than_a_tenth_of_a_percentage_point(seed):
    """With exact chances of a start (Mean 10 to 32 %) and a trained model (20 to 49 %) over four temperatures."""
    generator, k = np.random.default_rng(seed), 32
    difficulty = generator.normal(-3.0, 2.0, 200)
    rows = np.array([*chances(difficulty), *chances(difficulty + generator.normal(1.0, 1.0, 200))])

    def plane(weights, places):
        mixed = weights @ rows[list(places)]
        return np.stack([mixed.mean(axis=1), (1 - (1 - mixed) ** k).mean(axis=1)], axis=1)

    line = np.linspace(0, 1, 401)
    two = np.concatenate([plane(np.stack([line, 1 - line], axis=1), pair) for pair in combinations(range(8), 2)])
    simplex = np.array([(i, j, 20 - i - j) for i in range(21) for j in range(21 - i)]) / 20
    three = np.concatenate([plane(simplex, triple) for triple in combinations(range(8), 3)])
    best = two[np.argsort(two[:, 0])]
    envelope = np.maximum.accumulate(best[::-1, 1])[::-1]
    inside = three[:, 0] <= best[-1, 0]
    gains = three[inside, 1] - envelope[np.searchsorted(best[:, 0], three[inside, 0] - 1e-9)]
    assert gains.max() < 0.001


def test_true_chances_are_concave_in_three_weights():
    generator = random.Random(0)
    for _ in range(200):
        chances = [generator.random() for _ in range(3)]
        cut = sorted(generator.random() for _ in range(2))
        weights = [cut[0], cut[1] - cut[0], 1 - cut[1]]
        mixed = true_pass(list(zip(weights, chances, strict=True)), 16)
        assert mixed >= sum(w * true_pass([(1, p)], 16) for w, p in zip(weights, chances, strict=True)) - 1e-12
