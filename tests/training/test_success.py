"""One answer to what a success is: a threshold of 0.8 with graded rewards, from training to the report."""

import json

import pytest

from entroshape.cli import main
from entroshape.report.data import page_data
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

GRADED = """
def graded(prompts, completions, **columns):
    return [len(completion) % 5 / 4 for completion in completions]
"""
OPTIONS = [
    "--reward=graded_by_length:graded", "--steps=1", "--prompts-per-step=2", "--num-generations=8", "--train-size=20",
    "--eval-problems=4", "--eval-samples=8", "--dynamic-sampling=False", "--device=cpu", "--rollouts-every=1",
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "graded_by_length.py").write_text(GRADED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def counted(rows, threshold):
    assert {row["reward"] for row in rows} >= {0.75, 1.0}
    assert all(row["success"] == (row["reward"] > threshold) for row in rows)
    return sum(row["success"] for row in rows) / len(rows)


def test_training_logs_evaluations_and_report_count_the_same_successes(here, capsys):
    method = ["--method=gtpo", "--method-options", "success_threshold=0.8"]
    assert main(["train", *OPTIONS, "--output=run", *method]) == 0
    run = RunDirectory.open("run")
    rollouts = run.read_rollouts(1)
    share = counted(rollouts, 0.8)
    assert run.read_metrics()[0]["success_rate"] == pytest.approx(share)
    # Credit agrees: a success is rewarded, a reward of 0.75 is punished as a failure.
    assert all((row["shaped_reward"][0] > 0) == row["success"] for row in rollouts)
    for step, column in ((0, "before"), (1, "after")):
        rows, metrics = run.read_evaluation(step)
        assert metrics["mean@8"] == pytest.approx(counted(rows, 0.8))
        assert getattr(page_data(run)["outcome"][0], column) in (here / "run/report.html").read_text()

    capsys.readouterr()
    evaluation = [
        "eval",
        "--model=run/model",
        "--reward=graded_by_length:graded",
        "--problems=4",
        "--samples=8",
        "--json",
    ]
    assert main(evaluation) == 0
    own = json.loads(capsys.readouterr().out)
    assert own["options"]["success_threshold"] == 0.8
    assert own["metrics"]["mean@8"]["value"] == run.read_evaluation(1)[1]["mean@8"]
    assert main([*evaluation, "--success-threshold=0.5"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["metrics"]["reward"] == own["metrics"]["reward"]
    assert other["metrics"]["mean@8"]["value"] > own["metrics"]["mean@8"]["value"]


def test_a_comparison_counts_the_successes_of_each_arm_by_its_own_threshold(here):
    arms = "grpo,grpo:success_threshold=0.8"
    assert main(["compare", f"--methods={arms}", "--seeds=1", "--parallel=1", "--output=c", *OPTIONS]) == 0
    before = {}
    for folder, threshold in (("grpo", 0.5), ("grpo+success_threshold=0.8", 0.8)):
        run = RunDirectory.open(here / "c/runs" / folder / "seed-0")
        for step in (0, 1):
            rows, metrics = run.read_evaluation(step)
            assert metrics["mean@8"] == pytest.approx(counted(rows, threshold))
        before[threshold] = run.read_evaluation(0)[0]
    # The same completions from the same start, counted by two thresholds.
    assert [row["completion"] for row in before[0.5]] == [row["completion"] for row in before[0.8]]


def test_a_model_that_is_no_run_is_evaluated_with_the_threshold_that_is_asked_for(here, capsys):
    options = ["eval", "--reward=graded_by_length:graded", "--problems=2", "--samples=8", "--device=cpu", "--json"]
    assert main(options) == 0
    assert json.loads(capsys.readouterr().out)["options"]["success_threshold"] == 0.5
    with pytest.raises(SystemExit):
        main([*options, "--success-threshold=nan"])
    assert "success_threshold must be" in capsys.readouterr().err
