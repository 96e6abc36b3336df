from dataclasses import replace

import pytest
from frontier_records import compared, planted, record

from entroshape.experiments import Comparison, parse_arms
from entroshape.experiments.frontier import (
    is_frontier_metric,
    summarize_frontier,
)
from entroshape.metrics.margins import SplitHull, above_hull
from entroshape.training.config import TrainConfig

PLAIN = [
    *(f"{kind}@{k}" for kind in ("above-hull", "mean-above-hull", "area-beyond-hull") for k in (16, 32)),
    "greedy",
]


@pytest.fixture(scope="module")
def comparison():
    return compared({"dapo": 0.0, "gtpo": 0.15, "grpo": 0.001})


def figures_of(comparison, arm):
    return next(each.figures for each in summarize_frontier(comparison) if each.arm == arm)


def test_every_arm_gets_its_figures_in_order(comparison):
    assert list(figures_of(comparison, "gtpo")) == PLAIN


def test_a_planted_gain_is_found_with_an_interval_that_excludes_0_and_no_gain_is_not(comparison):
    ahead, equal = (figures_of(comparison, arm)["above-hull@16"] for arm in ("gtpo", "grpo"))
    assert ahead.difference.low > 0
    assert ahead.adjusted < 0.05
    assert equal.difference.low <= 0
    assert set(ahead.values) == {0, 1, 2}


def test_the_hull_of_a_seed_is_made_of_that_seeds_start_and_baseline(comparison):
    own, baseline = planted(1, 0.15), planted(1, 0.0)
    expected = above_hull([each for each in own if each.weights == "last"], SplitHull(tuple(baseline), 16))
    assert figures_of(comparison, "gtpo")["above-hull@16"].values[1] == expected.value


def test_the_baseline_has_no_margin_beyond_its_own_hull_but_its_greedy_rate(comparison):
    figures = figures_of(comparison, "dapo")
    assert list(figures) == ["greedy"]
    assert figures["greedy"].difference is None
    assert figures_of(comparison, "gtpo")["greedy"].difference.n == 3


def test_means_and_mixtures_of_weights_have_figures_of_their_own_also_for_the_baseline():
    gains = {"dapo": 0.0, "gtpo": 0.15}
    comparison = compared(gains, seeds=2, weights=("last", "ema", "mix:0.5", "mix-ema:0.5"), steps=(100,))
    for suffix in ("-ema", "-mix", "-mix-ema"):
        assert f"above-hull{suffix}@32" in figures_of(comparison, "dapo")
    assert "above-wide-hull@32" not in figures_of(comparison, "dapo")
    wide = figures_of(comparison, "gtpo")["above-wide-hull@32"].values[0]
    every = planted(0, 0.15, weights=("last", "ema", "mix:0.5", "mix-ema:0.5"), steps=(100,))
    hull = planted(0, 0.0, weights=("last", "ema", "mix:0.5", "mix-ema:0.5"), steps=(100,))
    assert wide == above_hull([each for each in every if each.weights != "start"], SplitHull(tuple(hull), 32)).value


def test_seeds_without_the_baseline_are_left_out(comparison):
    fewer = replace(
        comparison, records=[each for each in comparison.records if (each["arm"], each["seed"]) != ("dapo", 2)]
    )
    assert set(figures_of(fewer, "gtpo")["above-hull@16"].values) == {0, 1}


def test_old_records_without_points_and_points_of_one_temperature_have_no_figures():
    old = Comparison(base=TrainConfig(), arms=parse_arms(["dapo"]), baseline="dapo", records=[record("dapo", 0)])
    assert summarize_frontier(old) == []
    assert summarize_frontier(compared({"dapo": 0.0, "gtpo": 0.1}, seeds=1, temperatures=(1.0,))) == []


def test_with_few_samples_the_figures_are_those_of_all_samples():
    assert "above-hull@8" in figures_of(compared({"dapo": 0.0, "gtpo": 0.1}, seeds=1, samples=8), "gtpo")


def test_names_of_figures():
    names = [*PLAIN, "above-hull-mix-ema@32", "greedy-ema", "above-wide-hull@32"]
    assert all(map(is_frontier_metric, names))
    assert not any(map(is_frontier_metric, ["above-hull", "above-hull@0", "greedy@32", "above-hull-max@32", "mean@32"]))
