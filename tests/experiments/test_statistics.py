"""Statistics over seeds, against loops and simulation."""

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from entroshape.experiments import holm, paired_difference, seeds_needed, spread

finite = st.floats(-10, 10).map(lambda x: round(x, 4))


@given(st.lists(finite, min_size=2, max_size=12))
def test_spread_is_that_of_the_textbook(values):
    result = spread(values)
    assert result.mean == pytest.approx(statistics.fmean(values), abs=1e-12)
    assert result.sd == pytest.approx(statistics.stdev(values), abs=1e-9)
    assert result.se == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-9)


def test_one_seed_has_no_spread_and_none_is_refused():
    assert (spread([0.5]).mean, spread([0.5]).se, spread([0.5]).sd) == (0.5, None, None)
    with pytest.raises(ValueError, match="one number per seed; got none"):
        spread([])


@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=10))
def test_a_paired_difference_is_scipys_paired_t_test(pairs):
    differences = [a - b for a, b in pairs]
    result = paired_difference(dict(enumerate(a for a, _ in pairs)), dict(enumerate(b for _, b in pairs)))
    assert result.mean == pytest.approx(statistics.fmean(differences), abs=1e-12)
    if statistics.stdev(differences) > 1e-6:
        test = stats.ttest_rel([a for a, _ in pairs], [b for _, b in pairs])
        interval = test.confidence_interval(0.95)
        assert (result.low, result.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert result.p == pytest.approx(test.pvalue, abs=1e-9)


def test_only_seeds_that_both_have_are_compared():
    result = paired_difference({0: 1.0, 2: 5.0, 3: 7.0}, {0: 0.5, 1: 100.0, 3: 6.0})
    assert (result.mean, result.n) == (0.75, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_one_seed_gives_a_difference_without_an_interval():
    result = paired_difference({0: 1.0}, {0: 0.25})
    assert (result.mean, result.low, result.high, result.p, result.seeds_needed) == (0.75, None, None, None, None)


def test_equal_differences_are_an_interval_of_no_width_and_no_p_value():
    result = paired_difference({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5})
    assert (result.low, result.high, result.p, result.seeds_needed) == (0.5, 0.5, None, 2)


def test_what_pairs_share_cancels():
    noise = [random.Random(seed).gauss(0, 10) for seed in range(5)]
    jitter = [0.01, -0.01, 0.0, 0.02, -0.02]
    result = paired_difference({i: x + 0.1 + jitter[i] for i, x in enumerate(noise)}, dict(enumerate(noise)))
    assert 0 < result.low < 0.1 < result.high < 0.2


@pytest.mark.parametrize("ratio", [0.3, 0.5, 1.0, 2.0])
def test_with_the_seeds_needed_the_difference_shows_four_times_in_five(ratio):
    def found(seeds):
        draws = np.random.default_rng(0).normal(ratio, 1.0, size=(20_000, seeds))
        return (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean()

    n = seeds_needed(ratio, 1.0)
    assert found(n) > 0.77
    assert found(n - 1) < 0.83


@given(st.floats(0.002, 3.0), st.floats(0.1, 3.0))
def test_seeds_needed_is_the_smallest_that_is_enough(difference, sd):
    def enough(n):
        return math.sqrt(n) * difference >= (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * sd

    n = seeds_needed(difference, sd)
    if n is None:
        assert not enough(100_000)
    else:
        assert enough(n)
        assert n == 2 or not enough(n - 1)


def test_no_difference_needs_more_seeds_than_there_are():
    assert seeds_needed(0.0, 0.1) is None
    assert seeds_needed(1e-9, 1.0) is None
    assert seeds_needed(0.1, 0.0) == 2
    with pytest.raises(ValueError, match="sd must not be negative; got -1"):
        seeds_needed(0.1, -1.0)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_steps_down_from_the_smallest(values):
    adjusted = holm(values)
    for place, p in enumerate(values):
        # A p value is adjusted to the largest, over the values not above it, of each times how many are not below.
        expected = 0.0
        for rank, other in enumerate(sorted(values)):
            if other <= p:
                expected = max(expected, min(1.0, (len(values) - rank) * other))
        assert adjusted[place] >= p - 1e-12
        assert adjusted[place] <= 1
        if values.count(p) == 1:
            assert adjusted[place] == pytest.approx(expected)
