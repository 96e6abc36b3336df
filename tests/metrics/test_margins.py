import numpy as np
import pytest
from frontier_oracle import point
from hypothesis import given, settings
from hypothesis import strategies as st

from entroshape.metrics.coins import Coin
from entroshape.metrics.margins import (
    SplitHull,
    above_hull,
    area_beyond_hull,
    best_greedy,
    mean_above_hull,
)
from entroshape.metrics.points import choice_half, report_half

K = 16


def sampled(generator, chances, n=32, **setting):
    return point([int(c) for c in generator.binomial(n, chances)], n, **setting)


def world(seed, problems=400):
    """Success probabilities of a start and of a trained model, cold and hot: sharper is better once and worse often."""
    difficulty = np.random.default_rng(seed).normal(-2.5, 2.0, problems)

    def chances(shift, temperature):
        return 1 / (1 + np.exp(-(difficulty + shift + 2.5 * (1 - temperature)) / temperature))

    return chances


def baseline_hull(generator, chances, n=32):
    start = [sampled(generator, chances(0, t), n, weights="start", step=0, temperature=t) for t in (0.3, 0.6, 1.0)]
    return SplitHull((*start, *(sampled(generator, chances(1, t), n, temperature=t) for t in (0.3, 0.6, 1.0))), K)


@st.composite
def hulls(draw):
    problems, n = draw(st.integers(2, 6)), draw(st.integers(2, 5))
    counts = st.lists(st.integers(0, n), min_size=problems, max_size=problems)
    points = [point(draw(counts), n, step=step) for step in range(1, draw(st.integers(1, 4)) + 1)]
    return SplitHull(tuple(points), k=draw(st.integers(1, n)))


@given(hulls())
@settings(deadline=None)
def test_no_point_of_the_hull_is_above_it_on_the_half_where_it_was_chosen(hull):
    for margin in (above_hull(hull.points, hull), mean_above_hull(hull.points, hull)):
        assert margin.choice <= 1e-9
    assert area_beyond_hull(hull.points, hull) in (None, 0.0)


@given(hulls())
@settings(deadline=None)
def test_what_is_chosen_does_not_depend_on_the_report_half(hull):
    problems = hull.points[0].problems
    report = set(report_half(problems))

    def spoiled(each):
        counts = [0 if place in report else count for place, count in enumerate(each.successes)]
        return point(counts, each.samples, step=each.step)

    arm = [point([1] * problems, hull.points[0].samples, step=9), hull.points[0]]
    other = SplitHull(tuple(spoiled(each) for each in hull.points), hull.k)
    for measure in (above_hull, mean_above_hull):
        one, two = measure(arm, hull), measure([spoiled(each) for each in arm], other)
        assert one.choice == pytest.approx(two.choice)
        assert one.point.setting == two.point.setting
        assert one.coin.first.setting, one.coin.second.setting == (two.coin.first.setting, two.coin.second.setting)


@given(hulls(), st.randoms())
@settings(deadline=None)
def test_the_order_of_the_problems_within_a_half_does_not_matter(hull, shuffler):
    problems = hull.points[0].problems
    even, odd = list(choice_half(problems)), list(report_half(problems))
    shuffler.shuffle(even)
    shuffler.shuffle(odd)
    order = [(even if place % 2 == 0 else odd)[place // 2] for place in range(problems)]
    other = SplitHull(tuple(each.select(order) for each in hull.points), hull.k)
    arm = point([place % 3 % 2 for place in range(problems)], hull.points[0].samples, step=9)
    one, two = above_hull([arm], hull), above_hull([arm.select(order)], other)
    assert one.choice == pytest.approx(two.choice)


def test_a_method_that_dominates_is_found_above():
    generator, chances = np.random.default_rng(0), world(0)
    hull = baseline_hull(generator, chances)
    better = [sampled(generator, np.minimum(1, chances(1, t) + 0.15), temperature=t, step=9) for t in (0.3, 0.6, 1.0)]
    assert above_hull(better, hull).value > 0.1
    assert mean_above_hull(better, hull).value > 0.05
    assert area_beyond_hull(better, hull) > 50


def test_a_method_that_equals_the_baseline_is_not_above_its_hull():
    values = []
    for seed in range(12):
        generator, chances = np.random.default_rng(seed), world(seed, problems=128)
        hull = baseline_hull(generator, chances)
        again = [sampled(generator, chances(1, t), temperature=t, step=9) for t in (0.3, 0.6, 1.0)]
        values.append([above_hull(again, hull).value, mean_above_hull(again, hull).value])
    mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
    assert (mean - 2.5 * error <= 0).all()
    assert (np.abs(mean) < 0.03).all()


def test_a_planted_coin_is_on_the_hull():
    """Counts that are the coin's own chances, at as many samples that drawing without replacement hardly matters."""
    n, k = 1000, 8
    shares = np.tile([0.0, 0.05, 0.2, 0.9], 4), np.tile([0.3, 0.1, 0.02, 0.1], 4)
    first, second = (
        point((shares[i] * n).astype(int).tolist(), n, weights=w, step=i) for i, w in enumerate(["start", "last"])
    )
    coin = [round(0.4 * a + 0.6 * b) for a, b in zip(first.successes, second.successes, strict=True)]
    margin = above_hull([point(coin, n, step=9)], SplitHull((first, second), k))
    assert margin.value == pytest.approx(0, abs=4e-3)
    assert margin.reached
    assert (margin.coin.first, margin.coin.weight) == (second, pytest.approx(0.6))
    assert mean_above_hull([point(coin, n, step=9)], SplitHull((first, second), k)).value == pytest.approx(0, abs=4e-3)


def test_a_mean_that_no_coin_has_is_compared_with_the_nearest_and_said_so():
    hull = SplitHull((point([4, 4, 0, 0], 8), point([2, 2, 2, 2], 8, step=2)), k=2)
    margin = above_hull([point([6, 6, 6, 6], 8, step=3)], hull)
    assert not margin.reached
    assert margin.coin.mean == 0.25
    assert margin.value == pytest.approx(point([6, 6], 8).pass_at(2) - margin.coin.select(report_half(4)).pass_at(2))


def test_the_weight_on_the_report_half_follows_from_the_equal_mean():
    first, second = point([8, 8, 0, 4], 8), point([0, 2, 2, 2], 8, step=2)
    arm = point([4, 5, 3, 3], 8, step=3)
    margin = above_hull([arm], SplitHull((first, second), k=2))
    assert margin.reached
    # The report half: means of 6/8 and 2/8 for the two points, 4/8 for the arm.
    assert margin.coin == Coin(first=first, second=second, weight=0.5)


@pytest.mark.parametrize(("counts", "weight"), [((3, 5, 3, 3), 0.765625), ((3, 6, 3, 5), 0.875)])
def test_a_coin_with_more_than_the_equal_mean_keeps_its_weight_as_long_as_it_has_as_much(counts, weight):
    """On the choice half the coin has its highest Pass@2 at Mean 41 %, the arm 37.5 %. Report half: arm 50 and 69 %."""
    first, second = point([8, 8, 0, 4], 8), point([0, 2, 2, 2], 8, step=2)
    margin = above_hull([point(counts, 8, step=3)], SplitHull((first, second), k=2))
    assert margin.coin == Coin(first=first, second=second, weight=weight)
    assert margin.reached


def test_greedy_decoding_is_chosen_on_one_half_and_reported_on_the_other():
    points = [
        point([1, 0, 1, 0], 1, temperature=0, step=1),
        point([1, 1, 0, 1], 1, temperature=0, step=2),
        point([4, 4, 4, 4], 4, step=2),
    ]
    best = best_greedy(points)
    assert (best.step, best.successes) == (1, (0, 0))
    assert best_greedy(points[2:]) is None


def test_an_area_needs_a_common_range():
    hull = SplitHull((point([1, 1], 4), point([0, 0], 4, step=2)), k=2)
    assert area_beyond_hull([point([3, 3], 4, step=3), point([2, 2], 4, step=4)], hull) is None


def test_at_k_of_1_nothing_is_beyond_a_hull_with_the_same_means():
    hull = SplitHull((point([2, 2], 4), point([1, 1], 4, step=2)), k=1)
    arm = [point([2, 2], 4, step=3), point([1, 1], 4, step=4)]
    assert area_beyond_hull(arm, hull) == pytest.approx(0)
    assert above_hull(arm, hull).value == pytest.approx(0)


def test_the_area_is_the_margin_times_the_range_of_the_mean():
    """The same counts on other problems: k completions of one point solve half of the problems, of the other all."""
    n, k = 4, 4
    spread, narrow = [1] * 8, [2, 2, 2, 2, 0, 0, 0, 0]
    narrow_more, spread_more = [4, 4, 4, 4, 0, 0, 0, 0], [2] * 8
    hull = SplitHull((point(narrow, n), point(narrow_more, n, step=2)), k)
    arm = [point(spread, n, step=3), point(spread_more, n, step=4)]
    # Pass@4 of 100 against 50 %, over Mean 25 to 50 %.
    assert area_beyond_hull(arm, hull) == pytest.approx(50 * 25, rel=0.05)


def test_a_method_without_points_and_too_few_samples_are_refused():
    hull = SplitHull((point([2, 2], 4),), k=2)
    with pytest.raises(ValueError, match="points of a method must be at least one"):
        above_hull([], hull)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 1"):
        above_hull([point([1, 1], 1)], hull)
    with pytest.raises(ValueError, match="same held-out problems"):
        above_hull([point([1, 1, 1], 4)], SplitHull((point([2, 2], 4), point([2, 2, 2], 4, step=2)), 2))
