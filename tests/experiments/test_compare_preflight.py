"""``entroshape compare`` at the door: what no run could start with, what was never begun, and two calls at once."""

import os
import subprocess
import sys
import time
from dataclasses import fields, replace

import pytest

from entroshape.cli import main
from entroshape.experiments import parse_arms, read_comparison
from entroshape.experiments.command import missing_jobs, plan
from entroshape.experiments.options import parse_compare
from entroshape.experiments.preflight import LOCK, held
from entroshape.experiments.results import Comparison, write_comparison
from entroshape.experiments.table import comparison_table
from entroshape.runs import RunDirectory
from entroshape.training.config import TrainConfig

pytestmark = pytest.mark.slow

SMALL = [
    "--steps=1",
    "--prompts-per-step=2",
    "--num-generations=8",
    "--train-size=100",
    "--eval-problems=4",
    "--eval-samples=2",
    "--max-refills=1",
    "--rollouts-every=0",
    "--device=cpu",
]
REWARDS = """
def broken(prompts, completions): raise KeyError("the sum")
def short(prompts, completions): return [float(len(text) < 9) for text in completions]
"""


def planned(output, *arguments):
    config, base = parse_compare([f"--output={output}", *arguments])
    return plan(config, base)


def jobs_of(output, *arguments):
    comparison, arms, directory = planned(output, *arguments)
    return missing_jobs(comparison, arms, range(1), directory)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods=dapo,gtpo", "--task=nope"], "unknown task 'nope'"),
        (["--methods=dapo,gtpo:task=nope"], "unknown task 'nope'"),
        (["--methods=dapo", "--model=./typo"], "model: directory typo does not exist"),
        (["--methods=dapo,dapo:model=./typo"], "model: directory typo does not exist"),
        (["--methods=dapo", "--reward=no_such_module:f"], "no module 'no_such_module'"),
        (["--methods=dapo", "--task=reasoning_gym:chain_sum"], "cannot read the prompts"),
        (["--methods=dapo", "--task=math:math500?from=./nowhere"], "from must be a directory"),
        (["--methods=dapo", "--launcher=nosuchprog --flag"], "launcher must start with an executable program"),
        (["--methods=dapo", "--launcher="], "launcher must start with an executable program; got ''"),
    ],
)
def test_what_no_run_could_start_with_is_refused_in_a_sentence_with_nothing_written(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", f"--output={tmp_path / 'new'}", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_is_named_in_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["compare", f"--output={tmp_path / 'file' / 'x'}", "--methods=dapo", "--seeds=1", *SMALL]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said
    assert "Traceback" not in said


def test_the_mended_command_goes_on_where_all_runs_failed(tmp_path, capsys, monkeypatch):
    (tmp_path / "some_rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    command = ["compare", f"--output={tmp_path / 'new'}", "--methods=dapo", "--seeds=1", *SMALL]
    assert main([*command, "--reward=some_rewards:broken"]) == 1
    assert "1 of 1 run failed; dapo, seed 0: " in capsys.readouterr().err
    assert read_comparison(tmp_path / "new" / "comparison.json").records == []
    assert main([*command, "--reward=some_rewards:short"]) == 0
    run = RunDirectory.open(tmp_path / "new" / "runs" / "dapo" / "seed-0")
    assert run.read_config()["reward"] == "some_rewards:short"
    comparison = read_comparison(tmp_path / "new" / "comparison.json")
    assert comparison.base.reward == "some_rewards:short"
    assert len(comparison.records) == 1


def test_a_comparison_without_records_takes_other_options_and_keeps_its_arms(tmp_path):
    first, _, _ = planned(tmp_path, "--methods=dapo,gtpo", "--task=nope")
    write_comparison(first, tmp_path / "comparison.json")
    comparison, arms, _ = planned(tmp_path, "--methods=dapo", "--task=countdown")
    assert comparison.base.task == "countdown"
    assert [arm.name for arm in comparison.arms] == ["dapo", "gtpo"]
    assert [arm.name for arm in arms] == ["dapo"]


def test_a_run_that_was_begun_is_refused_by_name_and_one_that_was_not_is_no_obstacle(tmp_path):
    (job,) = jobs_of(tmp_path, "--methods=dapo", "--steps=3")
    run = RunDirectory.create(job.path)
    run.write_config(job.config.to_dict())
    (other,) = jobs_of(tmp_path, "--methods=dapo", "--steps=4")
    assert other.config == replace(job.config, steps=4)
    run.append_metrics({"step": 1, "reward": 0.0})
    with pytest.raises(ValueError, match=r"seed-0 contains a run with steps = 3, but 4 was requested"):
        jobs_of(tmp_path, "--methods=dapo", "--steps=4")
    assert jobs_of(tmp_path, "--methods=dapo", "--steps=3") == [job]


def test_a_second_call_beside_the_first_is_refused_and_no_record_is_lost(tmp_path, capsys):
    output = tmp_path / "shared"
    command = [f"--output={output}", "--seeds=1", *SMALL]
    first = subprocess.Popen(
        [sys.executable, "-m", "entroshape", "compare", *command, "--methods=dapo,gtpo", "--parallel=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("runs/*/seed-0.log")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    second = subprocess.run(
        [sys.executable, "-m", "entroshape", "compare", *command, "--methods=grpo_s"],
        capture_output=True,
        text=True,
        check=False,
    )
    printed = first.communicate()[0]
    assert first.returncode == 0, printed
    assert second.returncode == 2, second.stdout
    assert f"another compare is running in {output}; wait until it finishes" in second.stderr
    assert main(["compare", *command, "--methods=grpo_s"]) == 0
    records = read_comparison(output / "comparison.json").records
    assert [record["arm"] for record in records] == ["dapo", "gtpo", "grpo_s"]


def test_a_directory_is_let_go_of_when_its_holder_is_killed(tmp_path):
    code = f"""
import pathlib, time
from entroshape.experiments.preflight import held
with held(pathlib.Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another compare is running"), held(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with held(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_sweep_without_methods_says_which_arms_the_file_holds(tmp_path):
    first, _, _ = planned(tmp_path, "--methods=dapo,gtpo")
    write_comparison(first, tmp_path / "comparison.json")
    with pytest.raises(ValueError, match=r"sweep needs --methods, .* already has dapo,gtpo"):
        planned(tmp_path, "--sweep", "alpha2=0.1,0.5")


def record(arm, seed, mean):
    metrics = {"problems": 4.0, "samples": 2.0, "mean@2": mean}
    return {"arm": arm, "seed": seed, "before": metrics, "after": metrics, "pass_curve": [mean], "curves": {"step": []}}


@pytest.mark.parametrize("name", ["arm", "seed", "before", "after", "pass_curve", "curves"])
def test_a_record_that_lacks_something_is_named_with_path_and_place(name, tmp_path):
    first, _, _ = planned(tmp_path, "--methods=dapo")
    path = tmp_path / "comparison.json"
    lacking = record("dapo", 1, 0.5)
    write_comparison(replace(first, records=[record("dapo", 0, 0.5), lacking]), path)
    whole = path.read_text()
    assert len(read_comparison(path).records) == 2
    head, _, last = whole.rpartition(f'"{name}"')
    path.write_text(f'{head}"{name}s"{last}')
    with pytest.raises(
        ValueError, match=rf"comparison\.json is not a valid comparison: .*records\[1\] must have '{name}'.*got none"
    ):
        read_comparison(path)


@pytest.mark.parametrize(("methods", "words"), [("dapo,gtpo", "at 5 %. Of"), ("dapo,gtpo,grpo_s", "the 2 arms are")])
def test_arms_are_judged_together_where_there_are_several(methods, words, tmp_path):
    first, arms, _ = planned(tmp_path, f"--methods={methods}")
    values = [(arm.name, seed, 0.1 * seed + 0.01 * place * seed) for place, arm in enumerate(arms) for seed in range(3)]
    comparison: Comparison = replace(first, records=[record(*value) for value in values])
    parts = comparison_table(comparison).renderables
    assert any(words in part.plain for part in parts if hasattr(part, "plain"))


def test_the_options_of_training_are_listed_in_the_help_but_for_those_that_the_comparison_sets(capsys):
    with pytest.raises(SystemExit):
        parse_compare(["--help"])
    shown = capsys.readouterr().out
    own = {"method", "method-options", "seed", "report-to"}
    for each in fields(TrainConfig):
        name = each.name.replace("_", "-")
        assert (f"--{name} " in shown) == (name not in own)


def test_options_that_are_not_named_are_those_of_the_comparison_that_is_there(tmp_path):
    base = TrainConfig(steps=7, eval_problems=4)
    arms = parse_arms(["dapo,gtpo"])
    write_comparison(Comparison(base=base, arms=arms, baseline="dapo", records=[]), tmp_path / "comparison.json")
    assert parse_compare([f"--output={tmp_path}"])[1] == base
    assert parse_compare([f"--output={tmp_path}", "--steps=100"])[1] == replace(base, steps=100)
    assert parse_compare([f"--output={tmp_path / 'new'}", "--steps=9"])[1] == TrainConfig(steps=9)


def test_a_file_of_options_is_read_and_overridden_but_for_what_the_comparison_sets(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("steps: 7\nmethod: grpo_s\nseed: 3\neval_problems: 4\n")
    config, base = parse_compare([f"--config={path}", "--steps=9", "--methods=dapo"])
    assert base == TrainConfig(steps=9, eval_problems=4)
    assert config.methods == ["dapo"]
