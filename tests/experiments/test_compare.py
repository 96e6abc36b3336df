"""``entroshape compare`` for real: the bundled model, two methods, two seeds, a kill, and more seeds afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from entroshape.cli import main
from entroshape.experiments import read_comparison
from entroshape.experiments.command import missing_jobs, plan
from entroshape.experiments.options import parse_compare
from entroshape.metrics.points import EvaluationPoint
from entroshape.runs import RunDirectory
from entroshape.training.config import TrainConfig

SMALL = [
    "--steps=2",
    "--prompts-per-step=2",
    "--num-generations=8",
    "--train-size=100",
    "--eval-problems=8",
    "--eval-samples=4",
    "--max-refills=1",
    "--save-every=1",
    "--rollouts-every=0",
    "--device=cpu",
    "--eval-temperatures=0,0.5",
]
TIMES = ("seconds", "environment")

pytestmark = pytest.mark.slow


def compare(output, *arguments):
    return ["compare", f"--output={output}", "--parallel=2", *arguments]


def timeless(comparison):
    return [{name: value for name, value in record.items() if name not in TIMES} for record in comparison.records]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two methods over two seeds."""
    output = tmp_path_factory.mktemp("finished")
    assert main(compare(output, "--methods", "dapo,gtpo", "--seeds=2", *SMALL)) == 0
    return output


def test_a_comparison_leaves_its_figures_its_pictures_and_its_runs(finished):
    comparison = read_comparison(finished / "comparison.json")
    assert [(record["arm"], record["seed"]) for record in comparison.records] == [
        ("dapo", 0), ("dapo", 1), ("gtpo", 0), ("gtpo", 1),
    ]  # fmt: skip
    for record in comparison.records:
        assert len(record["pass_curve"]) == 4
        assert record["curves"]["step"] == [1, 2]
        assert 2 * 2 * 8 <= record["responses"] <= 2 * (2 + 2) * 8  # at most one refill of each of two steps
        assert record["responses"] % 8 == 0
        assert record["after"]["mean@4"] == pytest.approx(record["pass_curve"][0], abs=1e-4)
    assert (finished / "comparison.html").stat().st_size > 100_000
    run = RunDirectory.open(finished / "runs" / "gtpo" / "seed-1")
    assert run.evaluation_steps() == [0, 2]
    assert run.report_path.is_file()
    assert (run.path / "model" / "model.safetensors").is_file()
    assert not run.checkpoints_path.exists()


def test_methods_of_a_seed_start_alike_see_the_same_prompts_and_are_asked_the_same(finished):
    dapo, gtpo = (RunDirectory.open(finished / "runs" / method / "seed-0") for method in ("dapo", "gtpo"))
    other_seed = RunDirectory.open(finished / "runs" / "dapo" / "seed-1")
    assert dapo.read_evaluation(0) == gtpo.read_evaluation(0)
    assert dapo.read_evaluation(0)[0] != other_seed.read_evaluation(0)[0]
    # The first step samples from the same weights with the same draws: only what it teaches differs.
    first = [run.read_metrics()[0] for run in (dapo, gtpo)]
    assert first[0]["reward"] == first[1]["reward"]
    assert first[0]["entropy"] == first[1]["entropy"]
    assert dapo.read_evaluation(2)[0] != gtpo.read_evaluation(2)[0]


def test_every_run_has_its_points_and_runs_of_a_seed_share_those_of_the_start(finished):
    comparison = read_comparison(finished / "comparison.json")
    starts = {}
    for record in comparison.records:
        points = [EvaluationPoint.from_dict(point) for point in record["points"]]
        assert [(each.weights, each.step, each.temperature) for each in points] == [
            (weights, step, temperature) for weights, step in (("start", 0), ("last", 2)) for temperature in (0, 0.5, 1)
        ]
        assert points[-1].mean == pytest.approx(record["after"]["mean@4"])
        starts.setdefault(record["seed"], []).append(points[:3])
    assert all(first == second for first, second in starts.values())
    for seed in (0, 1):
        logs = [path.read_text() for path in finished.glob(f"runs/*/seed-{seed}.log")]
        assert sorted(log.count("evaluating start at step 0, T 0.5") for log in logs) == [0, 1]


def test_temperatures_and_mixtures_that_are_asked_for_later_are_evaluated_without_training(finished, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "copy")
    trained = [path for path in copy.glob("runs/*/*/*") if path.name in ("metrics.jsonl", "model", "eval")]
    times = [path.stat().st_mtime_ns for path in trained]
    before = read_comparison(copy / "comparison.json")
    assert main(compare(copy, "--seeds=2", "--eval-temperatures=0.2", "--eval-mixtures=0.5", "--fresh=6")) == 0
    assert "4 runs, 0 done, 4 trained that lack evaluations" in capsys.readouterr().out.replace("\n", " ")
    after = read_comparison(copy / "comparison.json")
    assert [path.stat().st_mtime_ns for path in trained] == times
    for old, new in zip(before.records, after.records, strict=True):
        assert all(point in new["points"] for point in old["points"])
        added = [point for point in new["points"] if point not in old["points"]]
        assert [(point["weights"], point["temperature"]) for point in added] == [
            ("start", 0.2), ("last", 0.2), ("mix:0.5", 0), ("mix:0.5", 0.2), ("mix:0.5", 0.5),
        ]  # fmt: skip
        fresh = [EvaluationPoint.from_dict(point) for point in new["fresh_points"]]
        assert [(each.weights, each.temperature, each.problems) for each in fresh] == [
            (weights, temperature, 6) for weights in ("start", "last", "mix:0.5") for temperature in (0, 0.2, 0.5)
        ]
        same = new.keys() - {"points", "fresh", "fresh_points", "environment"}
        assert {name: old[name] for name in same} == {name: new[name] for name in same}
        assert old["environment"] == new["environment"]
    logs = "".join(path.read_text() for path in copy.glob("runs/*/seed-1.log"))
    assert logs.count("evaluating start at step 0, T 0.2\n") == 1
    with pytest.raises(ValueError, match="fresh is 6 in this comparison; got 7"):
        plan(*parse_compare([f"--output={copy}", "--seeds=2", "--fresh=7"]))
    # A run that is added later gets all of them, also those that the command does not name.
    comparison, arms, directory = plan(*parse_compare([f"--output={copy}", "--seeds=3", "--eval-temperatures=0.2"]))
    assert [job.config.eval_temperatures for job in missing_jobs(comparison, arms, range(3), directory)] == [
        [0, 0.2, 0.5],
        [0, 0.2, 0.5],
    ]


def test_a_run_whose_weights_are_gone_is_not_trained_again_for_a_temperature(finished, tmp_path, capsys):
    (tmp_path / "comparison.json").write_bytes((finished / "comparison.json").read_bytes())
    assert main(compare(tmp_path, "--seeds=2", "--eval-temperatures=0.2")) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "a run has no evaluation of start at temperature 0.2, and its weights are gone" in error
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.json"]


def test_an_older_comparison_without_points_stays_readable(finished, tmp_path):
    content = json.loads((finished / "comparison.json").read_text())
    del content["base"]["eval_temperatures"], content["base"]["eval_mixtures"], content["base"]["fresh"]
    for record in content["records"]:
        del record["points"]
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    assert main(compare(tmp_path, "--seeds=2")) == 0
    assert all("points" not in record for record in read_comparison(tmp_path / "comparison.json").records)
    content["records"][0]["points"] = [{"weights": "best"}]
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"comparison\.json is not .* points\[0\] must be an object with"):
        read_comparison(tmp_path / "comparison.json")


def test_a_launcher_starts_the_runs(tmp_path):
    mark, launcher = tmp_path / "started", tmp_path / "launch.sh"
    launcher.write_text(f'touch "{mark}"\nexec "{sys.executable}" "$@"\n')
    assert main(compare(tmp_path / "new", "--methods=dapo", "--seeds=1", f"--launcher=sh {launcher}", *SMALL)) == 0
    assert mark.is_file()
    assert len(read_comparison(tmp_path / "new" / "comparison.json").records) == 1


def test_the_start_that_is_taken_over_is_the_one_that_the_run_would_have_sampled(finished, tmp_path):
    """Whichever of the two was second was handed the first one's evaluation: sampled anew, it is the same."""
    output = tmp_path / "alone"
    assert main(["train", "--method=gtpo", "--seed=1", f"--output={output}", *SMALL]) == 0
    alone, compared = RunDirectory.open(output), RunDirectory.open(finished / "runs" / "gtpo" / "seed-1")
    for step in (0, 2):
        assert alone.read_evaluation(step) == compared.read_evaluation(step)


def test_nothing_is_trained_twice_even_without_the_run_directories(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "comparison.json").write_bytes((finished / "comparison.json").read_bytes())
    assert main(compare(copy, "--seeds=2")) == 0
    assert "4 runs, 4 done" in capsys.readouterr().out.replace("\n", " ")
    assert not (copy / "runs").exists()
    assert (copy / "comparison.json").read_bytes() == (finished / "comparison.json").read_bytes()


def test_another_option_is_refused_by_name(finished, capsys):
    other = [option for option in SMALL if "steps=2" not in option] + ["--steps=3"]
    assert main(compare(finished, "--methods=dapo", *other)) == 2
    assert "steps = 2; got 3. Choose another --output" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=2"], "methods must name the arms to compare"),
        (["--methods=dapo", "--baseline=gtpo"], "baseline must be one of dapo; got 'gtpo'"),
        (["--methods=gtpo:steps=0"], "arm gtpo:steps=0: steps must be"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(arguments, message, tmp_path, capsys):
    assert main(compare(tmp_path / "new", *arguments)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "option", ["--stpes=3", "--seed=3", "--method=dapo", "--report-to=none", "--resume=x", "--seeds=0", "--parallel=0"]
)
def test_an_option_that_is_unknown_or_out_of_range_is_refused(option, tmp_path):
    with pytest.raises(SystemExit) as refused:
        main(compare(tmp_path / "new", "--methods=dapo", option))
    assert refused.value.code == 2
    assert not (tmp_path / "new").exists()


def test_an_arm_with_options_of_training_is_held_against_the_baseline_with_the_same(tmp_path):
    config, base = parse_compare(
        [f"--output={tmp_path}", "--methods", "dapo,gtpo", "dapo:steps=5", "gtpo:steps=5,gtpo:steps=6"]
    )
    comparison, _, _ = plan(config, base)
    assert {arm.name: comparison.against(arm) for arm in comparison.arms} == {
        "dapo": None, "gtpo": "dapo", "dapo:steps=5": None, "gtpo:steps=5": "dapo:steps=5", "gtpo:steps=6": "dapo",
    }  # fmt: skip


def test_the_model_of_a_task_and_its_defaults_are_those_of_train(tmp_path):
    long = ["--methods=dapo", "--task=countdown_search?level=easy"]
    _, base = parse_compare(long)
    assert (base.model, base.steps, base.dynamic_sampling, base.old_logprobs) == (
        "countdown-search", 60, False, "sampler"
    )  # fmt: skip
    assert parse_compare([*long, "--steps=7"])[1] == replace(base, steps=7)
    assert parse_compare(["--methods=dapo"])[1] == TrainConfig()


def test_a_failed_run_is_named_with_its_last_words_and_the_others_are_kept(tmp_path, capsys, monkeypatch):
    (tmp_path / "broken_rewards.py").write_text("def f(prompts, completions): raise KeyError('a [bold] sum')\n")
    monkeypatch.chdir(tmp_path)
    code = main(compare(tmp_path / "new", "--methods", "dapo,dapo:reward=broken_rewards:f", "--seeds=1", *SMALL))
    printed = capsys.readouterr()
    assert code == 1
    said = "dapo:reward=broken_rewards:f, seed 0"
    why = "reward function 'broken_rewards:f' raised KeyError: 'a [bold] sum' (full output: "
    assert f"{said} failed: {why}" in printed.out
    assert f"1 of 2 runs failed; {said}: {why}" in printed.err
    assert "seed-0.log)" in printed.err
    assert [record["arm"] for record in read_comparison(tmp_path / "new" / "comparison.json").records] == ["dapo"]


def test_a_kill_loses_no_run_and_no_run_is_done_by_two(finished, tmp_path):
    output = tmp_path / "killed"
    command = [sys.executable, "-m", "entroshape"]
    command += compare(output, "--methods", "dapo,gtpo", "--seeds=2", *SMALL)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not list(output.glob("runs/*/seed-0/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads((output / "comparison.json").read_text())["records"])
    assert done < 4
    # The runs that were going on outlive the kill; the next call waits for them instead of doing them beside them.
    assert main(compare(output, "--methods", "dapo,gtpo", "--seeds=2", *SMALL)) == 0
    again, whole = (read_comparison(path / "comparison.json") for path in (output, finished))
    assert timeless(again) == timeless(whole)


def test_arms_that_are_named_get_more_seeds_and_no_others_do(finished):
    options = [f"--output={finished}", "--seeds=3"]
    for methods, runs in ((["--methods=gtpo"], [("gtpo", 2)]), ([], [("dapo", 2), ("gtpo", 2)])):
        config, base = parse_compare([*options, *methods, *(SMALL if methods else [])])
        comparison, arms, directory = plan(config, base)
        jobs = missing_jobs(comparison, arms, range(3), directory)
        assert [(job.arm.name, job.config.seed) for job in jobs] == runs


def test_more_seeds_and_arms_are_added_to_what_is_there(finished):
    """Last, for it changes what the others look at."""
    before = read_comparison(finished / "comparison.json")
    assert main(compare(finished, "--methods=grpo_s", "--seeds=1", "--first-seed=1", *SMALL)) == 0
    after = read_comparison(finished / "comparison.json")
    assert [arm.name for arm in after.arms] == ["dapo", "gtpo", "grpo_s"]
    assert after.records[:4] == before.records
    assert [(record["arm"], record["seed"]) for record in after.records[4:]] == [("grpo_s", 1)]
