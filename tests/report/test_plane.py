"""The plane of Mean@n and Pass@k in the report of a run, and the sentence on what lies beyond the start."""

import json
import re

import pytest
from chromium import needs_browser, opened
from report_inputs import make_run

from entroshape.metrics.points import EvaluationPoint
from entroshape.report import write_report
from entroshape.report.beyond import beyond_the_start
from entroshape.report.data import chart_data, page_data
from entroshape.report.plane import plane_curves, plane_hull, run_plane


def point(weights, step, temperature, successes, samples=32):
    return EvaluationPoint(
        weights=weights, step=step, temperature=temperature, samples=samples, successes=tuple(successes)
    )


def grid(gain=4):
    """A start and a trained model at three temperatures; colder sampling solves easy problems more often."""
    start = [point("start", 0, 0.0, [1, 0, 0, 0] * 8, 1)]
    start += [point("start", 0, t, [9 + cold, 6, 2, 1 - cold] * 8) for t, cold in ((0.5, 1), (1.0, 0))]
    trained = [point("last", 40, 0.0, [1, 1, 0, 0] * 8, 1)]
    trained += [point("last", 40, t, [9 + gain, 6 + gain, 2, 1] * 8) for t in (0.5, 1.0)]
    return [*start, *trained]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("runs") / "run", steps=40)
    for each in grid():
        # The evaluations of the run have 256 problems; a point per problem is all that the plane needs.
        run.write_point(
            point(each.weights, each.step, each.temperature + 0.01, each.successes * 8)
            if each.temperature
            else point(each.weights, each.step, 0.0, each.successes * 8, 1)
        )
    return run


def test_the_plane_of_a_run_holds_the_starts_curve_the_trained_curve_and_the_hull_of_the_start():
    plane = run_plane(grid())
    json.dumps(plane, allow_nan=False)
    assert [each["k"] for each in plane["tries"]] == ["32", "16"]
    assert [(curve["start"], curve["line"]) for curve in plane["curves"]] == [(True, True), (False, True)]
    assert plane["hull"]["32"][0]["text"][0] == "hull of the start"
    best = max(each["y"]["16"] for each in plane["curves"][0]["points"])
    assert plane["hull"]["16"][0]["y"] >= best - 1e-4


def test_one_temperature_makes_no_plane_and_no_sentence():
    one = [each for each in grid() if each.temperature == 1.0]
    assert run_plane(one) is None
    assert beyond_the_start(one) is None
    assert run_plane([]) is None


def test_points_that_not_all_seeds_have_are_left_out():
    curves = plane_curves({0: grid(), 1: grid()[:-1]}, [16], "arm")
    assert [len(curve["points"]) for curve in curves] == [2, 3]
    assert "mean of 2 seeds" in curves[0]["points"][0]["text"]["16"]


def test_a_hull_of_seeds_has_the_band_that_is_asked_for():
    places = plane_hull({0: grid(), 1: grid(gain=6)}, [16], "hull", reach=lambda values: 0.01)["16"]
    assert all(place["high"] - place["low"] == pytest.approx(0.02, abs=1e-4) for place in places if place["high"] < 1)


def test_the_sentence_compares_each_at_its_best_temperature_on_the_other_half():
    sentence = beyond_the_start(grid())
    # On the report half (odd positions) the greedy start, chosen for its mean on the even ones, solves nothing.
    assert "went" not in sentence
    assert "rose from 0.0 % to 50.0 % (+50.0 points" in sentence
    assert "(greedy) against the best of the trained weights (greedy)" in sentence


def test_no_gain_is_said_to_be_no_clear_change():
    same = [each for each in grid() if each.weights == "start"]
    trained = [point("last", 40, each.temperature, each.successes, each.samples) for each in same]
    assert "no clear change" in beyond_the_start([*same, *trained])


def test_the_report_begins_with_what_lies_beyond_the_start(run):
    assert page_data(run)["beyond"].startswith("Beyond sampling the start colder, the success rate rose")
    assert chart_data(run)["plane"]["x"] == "Mean@32"
    html = write_report(run.path).read_text(encoding="utf-8")
    assert html.index("Beyond sampling the start colder") < html.index('<p class="verdict">Mean@')


def test_a_run_without_further_temperatures_has_no_plane(tmp_path):
    run = make_run(tmp_path / "run", steps=4)
    assert chart_data(run)["plane"] is None
    assert page_data(run)["beyond"] is None


@pytest.mark.slow
@needs_browser
def test_the_plane_is_drawn_in_the_report(run, tmp_path):
    dom, console = opened(write_report(run.path), tmp_path / "profile")
    assert console == []
    card = re.search(r"<h3>Mean and Pass@k over temperatures</h3>.*?(<svg.*?</svg>)", dom, re.DOTALL)
    assert card[1].count("<circle") >= 6
    assert "Pass@16" in card[0]
