import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.metrics.points import EvaluationPoint
from entroshape.runs import RunDirectory
from entroshape.runs.points import has_point, point_name, points_folder


def point(**overrides):
    values = {"weights": "last", "step": 4, "temperature": 0.6, "samples": 4, "successes": (0, 4, 2)}
    return EvaluationPoint(**{**values, **overrides})


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"task": "countdown", "seed": 1})
    return run


KEYS = st.tuples(
    st.sampled_from(["last", "ema", "mix:0.5", "mix:0.25", "mix-ema:0.5"]),
    st.integers(0, 20),
    st.one_of(st.floats(1e-3, 10), st.sampled_from([0.5, 1, 1.0, 2])),
)


@given(first=KEYS, second=KEYS)
def test_two_settings_have_the_same_file_only_if_they_are_the_same(first, second):
    assert (point_name(*first) == point_name(*second)) == (first == second)


def test_points_are_read_back_by_step_weights_and_temperature(run):
    points = [
        point(weights="start", step=0, temperature=1.0),
        point(weights="ema"),
        point(temperature=0.0, samples=1, successes=(0, 1, 1)),
        point(),
        point(step=10, weights="mix:0.5"),
    ]
    for each in reversed(points):
        run.write_point(each)
    assert run.read_points() == points
    assert has_point(run.path, "last", 4, 0)
    assert not has_point(run.path, "last", 4, 0.2)


def test_a_point_that_is_made_again_replaces_the_earlier_one(run):
    run.write_point(point())
    run.write_point(point(successes=(1, 1, 1)))
    assert run.read_points() == [point(successes=(1, 1, 1))]


def test_points_after_a_step_are_forgotten_with_what_a_resumed_run_repeats(run):
    for step in (2, 4, 6):
        run.write_point(point(step=step))
    (points_folder(run.path) / "step-6-last-T0.7.json").write_text("damaged")
    run.check_tables(4)
    run.forget_after(4)
    assert run.read_points() == [point(step=2), point(step=4)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        (json.dumps({**point().to_dict(), "successes": [5, 0, 0]}), r"successes\[0\]"),
        (json.dumps(point(step=6).to_dict()), "must be named step-6-last-T0.6.json"),
    ],
)
def test_a_damaged_point_is_refused_by_the_name_of_its_file(run, text, why):
    run.write_point(point())
    (points_folder(run.path) / "step-4-last-T0.6.json").write_text(text)
    for read in (run.read_points, lambda: run.check_tables(4)):
        with pytest.raises(ValueError, match=rf"step-4-last-T0\.6\.json.*{why}"):
            read()
