"""Points of real runs: held-out problems evaluated over temperatures, with means and mixtures of the weights."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from entroshape.cli import main
from entroshape.evaluation import evaluate
from entroshape.evaluation.points import point_of
from entroshape.models import load_model
from entroshape.runs import RunDirectory
from entroshape.runs.points import points_folder
from entroshape.tasks import load_task
from entroshape.training.config import TrainConfig
from entroshape.training.evaluator import point_seed

SMALL = [
    "--prompts-per-step=2",
    "--num-generations=4",
    "--train-size=60",
    "--eval-problems=8",
    "--eval-samples=4",
    "--device=cpu",
    "--max-refills=1",
    "--steps=2",
    "--eval-every=1",
    "--learning-rate=0.003",
    "--ema-decay=0.5",
]
GRID = ["--eval-temperatures=0,0.5,1", "--eval-mixtures=0.5"]
TEMPERATURES = [0, 0.5, 1]

pytestmark = pytest.mark.slow


def keys(run):
    return {(point.step, point.weights, point.temperature) for point in run.read_points()}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", *SMALL, *GRID, f"--output={path}"]) == 0
    return RunDirectory.open(path)


@pytest.fixture
def copy(finished, tmp_path):
    return RunDirectory.open(shutil.copytree(finished.path, tmp_path / "copy"))


def test_a_run_has_a_point_for_every_step_weights_and_temperature(finished):
    weights = {0: ["start"], 1: ["last", "ema"], 2: ["last", "ema", "mix:0.5", "mix-ema:0.5"]}
    assert keys(finished) == {(step, each, t) for step in weights for each in weights[step] for t in TEMPERATURES}


def test_points_at_the_temperature_of_the_run_count_its_evaluations(finished):
    for point in finished.read_points():
        if point.temperature == 1 and point.weights in ("start", "last"):
            rows, metrics = finished.read_evaluation(point.step)
            assert point == point_of(rows, weights=point.weights, step=point.step, temperature=1)
            assert point.mean == pytest.approx(metrics["mean@4"])


def test_points_are_those_of_the_saved_weights(finished):
    task = load_task("countdown", test_size=8, train_size=1)
    counts = {}
    for weights, folder in (("last", finished.model_path), ("ema", finished.ema_model_path)):
        seed = point_seed(0, weights, 2, 0.5)
        result = evaluate(*load_model(str(folder)), task, samples=4, temperature=0.5, seed=seed)
        counts[weights] = point_of(result.rows, weights=weights, step=2, temperature=0.5)
        assert counts[weights] in finished.read_points()
    assert counts["last"].successes != counts["ema"].successes, "the test needs weights that differ"


def test_points_of_a_run_use_random_numbers_of_their_own():
    settings = [
        (seed, weights, step, temperature)
        for seed in (0, 1)
        for weights in ("last", "ema", "mix:0.5", "mix:0.7")
        for step in (1, 2, 3)
        for temperature in (0.2, 0.25, 1.0)
    ]
    seeds = [point_seed(*setting) for setting in settings]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_training_and_its_evaluations_do_not_depend_on_points(finished, tmp_path):
    assert main(["train", *SMALL, "--eval-temperatures=", f"--output={tmp_path / 'plain'}"]) == 0
    plain = RunDirectory.open(tmp_path / "plain")
    assert keys(plain) == {(0, "start", 1), (1, "last", 1), (1, "ema", 1), (2, "last", 1), (2, "ema", 1)}
    for folder in ("model", "model-ema"):
        weights = [(run.path / folder / "model.safetensors").read_bytes() for run in (plain, finished)]
        assert weights[0] == weights[1]
    for step in (0, 1, 2):
        assert plain.read_evaluation(step) == finished.read_evaluation(step)


def test_a_finished_run_gets_the_points_that_it_lacks_without_training(finished, copy, capsys):
    """Even without its checkpoints. Those of steps in between are not made: their weights are gone."""
    shutil.rmtree(copy.checkpoints_path)
    kept = [points_folder(copy.path) / "step-2-last-T0.5.json", *points_folder(copy.path).glob("step-1-*")]
    lost = [path for path in points_folder(copy.path).iterdir() if path not in kept]
    kept_times = [path.stat().st_mtime_ns for path in kept]
    weights = (copy.model_path / "model.safetensors").stat().st_mtime_ns
    for path in lost:
        path.unlink()
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert f"it lacks {len(lost)} points" in capsys.readouterr().out.replace("\n", " ")
    assert files(points_folder(copy.path)) == files(points_folder(finished.path))
    assert [path.stat().st_mtime_ns for path in kept] == kept_times
    assert (copy.model_path / "model.safetensors").stat().st_mtime_ns == weights
    assert not copy.checkpoints_path.exists()
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert "is already finished" in capsys.readouterr().out


def test_a_run_that_is_killed_between_points_makes_the_others_when_it_is_resumed(finished, tmp_path):
    path = tmp_path / "killed"
    command = [sys.executable, "-m", "entroshape", "train", *SMALL, *GRID, f"--output={path}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 240
    while not list(path.glob("points/step-2-last-T0.0.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = RunDirectory.open(path)
    assert 0 < len(run.read_points()) < len(finished.read_points())
    assert main(["train", f"--resume={path}"]) == 0
    assert files(points_folder(run.path)) == files(points_folder(finished.path))
    assert (run.model_path / "model.safetensors").read_bytes() == (
        finished.model_path / "model.safetensors"
    ).read_bytes()


def test_fresh_problems_are_evaluated_before_and_after_training_also_later(finished, copy, capsys):
    """With them asked for later, as ``compare`` does, in the options of the run."""
    content = yaml.safe_load(copy.config_path.read_text())
    copy.config_path.write_text(yaml.safe_dump({**content, "fresh": 6}))
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert "evaluating start at step 0, T 0.5, fresh problems" in capsys.readouterr().out
    points = copy.read_points(fresh=6)
    weights = {0: ["start"], 2: ["last", "ema", "mix:0.5", "mix-ema:0.5"]}
    expected = {(step, each, t) for step in weights for each in weights[step] for t in TEMPERATURES}
    assert {(point.step, point.weights, point.temperature) for point in points} == expected
    assert {point.problems for point in points} == {6}
    assert files(points_folder(copy.path)) == files(points_folder(finished.path))
    task = load_task("countdown", test_size=8, train_size=60, fresh=6)
    seed = point_seed(0, "last", 2, 0.5)
    result = evaluate(*load_model(str(copy.model_path)), task, samples=4, temperature=0.5, seed=seed)
    assert point_of(result.rows, weights="last", step=2, temperature=0.5) in points


def test_mixtures_of_an_adapter_are_those_of_the_whole_weights(tmp_path):
    path = tmp_path / "lora"
    assert main(["train", *SMALL, "--lora-rank=4", "--eval-mixtures=0.5", f"--output={path}"]) == 0
    run = RunDirectory.open(path)
    before = files(points_folder(run.path))
    assert {"step-2-mix-0.5-T1.0.json", "step-2-mix-ema-0.5-T1.0.json"} <= before.keys()
    shutil.rmtree(points_folder(run.path))
    assert main(["train", f"--resume={path}"]) == 0
    assert files(points_folder(run.path)) == {
        name: text for name, text in before.items() if not name.startswith("step-1-")
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_temperatures": [0.5, -1]}, r"eval_temperatures\[1\] must be a finite number in \[0, inf\]; got -1"),
        ({"eval_temperatures": [0.5, 0.5]}, "eval_temperatures must be different numbers; got 0.5 more than once"),
        ({"eval_temperatures": 0.5}, "eval_temperatures must be a list of numbers; got 0.5"),
        ({"eval_mixtures": [1]}, r"eval_mixtures\[0\] must be a finite number in \[0.001, 0.999\]; got 1"),
    ],
)
def test_temperatures_and_mixtures_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)
