from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.metrics.pass_at_k import bootstrap_interval, mean_at_k, pass_at_k


@st.composite
def counts(draw):
    n = draw(st.integers(1, 60))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(counts())
def test_pass_at_k_is_the_share_of_k_subsets_that_hold_a_success(case):
    n, c, k = case
    assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k), abs=1e-12)


def test_pass_at_k_equals_a_count_over_every_subset():
    outcomes = [True, True, False, False, False, False]
    subsets = list(combinations(outcomes, 3))
    assert pass_at_k(6, 2, 3) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@given(counts())
def test_pass_at_k_stays_within_0_and_1_and_grows_with_k(case):
    n, c, _ = case
    curve = pass_at_k(n, c, np.arange(1, n + 1))
    assert 0 <= curve.min() <= curve.max() <= 1
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[0] == pytest.approx(c / n)
    assert curve[-1] == (1.0 if c else 0.0)


def test_pass_at_k_stays_exact_where_binomials_overflow():
    # comb(5000, 2500) is far beyond a double.
    assert pass_at_k(5000, 1, 2500) == pytest.approx(0.5, abs=1e-12)
    assert pass_at_k(5000, 2500, 5000) == 1.0


def test_pass_at_k_is_unbiased():
    p, n, k = 0.3, 6, 3
    expected = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert expected == pytest.approx(1 - (1 - p) ** k)


def test_pass_at_k_broadcasts_problems_against_ks():
    table = pass_at_k(8, np.array([[0], [3], [8]]), np.arange(1, 9))
    assert table.shape == (3, 8)
    assert table[1, 3] == pass_at_k(8, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 5, 1), "c must satisfy 0 <= c <= n; got c=5 with n=4"),
        ((4, -1, 1), "c must satisfy"),
        ((4, 1, 5), "k must satisfy 1 <= k <= n; got k=5 with n=4"),
        ((4, 1, 0), "k must satisfy"),
        ((0, 0, 1), "k must satisfy"),
        ((4, 1.0, 1), "c must be integers"),
        ((4, [1, 9, 2], 1), "got c=9 with n=4"),
    ],
)
def test_pass_at_k_refuses_impossible_counts(arguments, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k(*arguments)


def test_mean_at_k_is_pass_at_1_on_average():
    outcomes = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(mean_at_k(outcomes), pass_at_k(4, outcomes.sum(axis=1), 1))


def test_mean_at_k_refuses_no_samples():
    with pytest.raises(ValueError, match=r"successes must be .* got \[3, 0\]"):
        mean_at_k(np.zeros((3, 0)))


def test_interval_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).random(400)
    low, high = bootstrap_interval(values, resamples=8000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(300):
        low, high = bootstrap_interval(generator.random(60), level=0.9, resamples=400, seed=seed)
        covered += low <= 0.5 <= high
    assert 0.85 <= covered / 300 <= 0.95


def test_wider_levels_give_wider_intervals_and_no_spread_gives_none():
    values = np.random.default_rng(2).random(50)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert bootstrap_interval([0.25] * 7) == (0.25, 0.25)


def test_interval_depends_on_the_seed_alone():
    values = np.random.default_rng(3).random(50)
    state = np.random.get_state()[1].copy()
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)
    assert (np.random.get_state()[1] == state).all()


def test_columns_share_their_draws():
    values = np.random.default_rng(4).random(40)
    low, high = bootstrap_interval(np.stack([values, 2 * values], axis=1))
    np.testing.assert_allclose(low[1], 2 * low[0])
    np.testing.assert_allclose((low[0], high[0]), bootstrap_interval(values))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "values must be .* at least one problem"),
        ([1.0, float("nan")], {}, "values must be finite; got nan"),
        ([1.0], {"level": 1.0}, "level must be in"),
        ([1.0], {"resamples": 0}, "resamples must be a whole number of at least 1"),
        (["a"], {}, "values must be numbers"),
    ],
)
def test_interval_refuses_bad_input(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)
