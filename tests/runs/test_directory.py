import json
import math
import os
import platform
import subprocess
import sys

import pytest
import yaml

from entroshape.runs import RunDirectory


def rollout(**overrides):
    row = {
        "step": 3, "group": 0, "prompt": "1 + 1", "completion": "= 2", "tokens": ["=", "2", "</s>"],
        "token_ids": [4, 2, 1], "entropy": [0.5, 1.25, 0.0], "shaped_reward": [1.0, 1.5, 0.5],
        "advantage": [0.5, 0.25, -0.75], "reward": 1.0, "success": True, "gated": False,
    }  # fmt: skip
    return {**row, **overrides}


def answer(**overrides):
    row = {
        "problem": "p0", "sample": 0, "prompt": "1 + 1", "completion": "= 2", "reward": 1.0, "success": True,
        "length": 3, "cut": False, "entropy": 0.4,
    }  # fmt: skip
    return {**row, **overrides}


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"task": "countdown", "seed": 1})
    return run


# --- create, open ---


def test_a_new_run_takes_an_empty_or_missing_directory(tmp_path):
    assert RunDirectory.create(tmp_path / "a" / "b").path.is_dir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".config.yaml.aside").write_text("left by a kill")
    RunDirectory.create(tmp_path / "empty")


def test_a_directory_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"must be new or empty.*contains 'thesis\.tex'.*another --output"):
        RunDirectory.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_with_a_run_is_refused_with_the_way_to_resume_it(run):
    with pytest.raises(ValueError, match=r"already contains a run: continue it with --resume .*run.* another --output"):
        RunDirectory.create(run.path)


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        RunDirectory.create(tmp_path / "file")


def test_opening_what_is_no_run_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.yaml"):
        RunDirectory.open(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        RunDirectory.open(tmp_path / "nowhere")


def test_named_runs_count_up_and_never_share_a_directory(tmp_path):
    names = [
        RunDirectory.create_named("reasoning_gym:chain_sum?min_terms=2", "gtpo", 7, root=tmp_path / "runs").path.name
        for _ in range(2)
    ]
    assert names == ["reasoning_gym-chain_sum-min_terms-2-gtpo-7-1", "reasoning_gym-chain_sum-min_terms-2-gtpo-7-2"]


# --- options ---


def test_the_config_reads_back_with_what_the_run_ran_on(run):
    config = {"method_options": {"alpha2": 1e-05, "gate": True}, "reward": None, "task": "jsonl:höhe.jsonl", "seed": 0}
    run.write_config(config)
    read = run.read_config()
    environment = read.pop("environment")
    assert read == config
    assert list(read) == list(config)
    assert {"python", "torch", "transformers", "trl", "entroshape", "git"} <= set(environment)


def test_the_git_revision_is_that_of_the_current_directory(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    run.write_config({"seed": 0})
    assert run.read_config()["environment"]["git"] is None


def test_options_that_are_no_plain_values_are_refused_and_the_config_stays(run):
    with pytest.raises(ValueError, match="config must contain only plain values"):
        run.write_config({"seed": object()})
    with pytest.raises(ValueError, match="must not contain 'environment'"):
        run.write_config({"environment": 1})
    assert run.read_config()["seed"] == 1
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_config_that_is_damaged_is_named(run):
    run.config_path.write_text("a: [")
    with pytest.raises(ValueError, match=r"config\.yaml is not YAML"):
        run.read_config()
    run.config_path.write_text("- 1")
    with pytest.raises(ValueError, match="must be a mapping of options; got list"):
        run.read_config()


# --- metrics ---


def test_metrics_read_back_line_by_line(run):
    assert run.read_metrics() == []
    lines = [{"step": 1, "reward": 0.1 + 0.2}, {"step": 2, "loss": None}]
    for line in lines:
        run.append_metrics(line)
    assert run.read_metrics() == lines
    assert len(run.metrics_path.read_text().splitlines()) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1.0], {"a": 1}, "0.5", 10**400])
def test_a_metric_that_json_cannot_hold_is_refused_by_name(run, value):
    with pytest.raises(ValueError, match="metrics: 'entropy' must be a finite number"):
        run.append_metrics({"step": 1, "entropy": value})
    assert run.read_metrics() == []


@pytest.mark.parametrize("step", [None, 1.0, True, -1])
def test_metrics_without_a_step_are_refused(run, step):
    with pytest.raises(ValueError, match="step must be a whole number"):
        run.append_metrics({"step": step})


def test_a_torn_last_line_is_left_out_and_the_next_append_drops_it(run):
    run.append_metrics({"step": 1})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 2, "rew')
    assert run.read_metrics() == [{"step": 1}]
    run.append_metrics({"step": 2, "reward": 1.0})
    assert run.read_metrics() == [{"step": 1}, {"step": 2, "reward": 1.0}]


def test_a_torn_only_line_is_dropped(run):
    run.metrics_path.write_text('{"st')
    assert run.read_metrics() == []
    run.append_metrics({"step": 1})
    assert run.read_metrics() == [{"step": 1}]


@pytest.mark.parametrize("line", ["{", "[1]", '{"reward": 1}', "", '{"step": "1"}'])
def test_any_other_malformed_line_is_named_by_path_and_number(run, line):
    run.metrics_path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: expected a JSON object with a step"):
        run.read_metrics()


def test_truncating_keeps_the_steps_that_a_resumed_run_will_not_repeat(run):
    run.truncate_metrics(0)
    assert not run.metrics_path.exists()
    for step in range(1, 6):
        run.append_metrics({"step": step, "reward": step / 3})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 6')
    run.truncate_metrics(3)
    assert run.read_metrics() == [{"step": step, "reward": step / 3} for step in (1, 2, 3)]
    run.append_metrics({"step": 4})
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3, 4]


# --- rollouts and evaluations ---


def test_rollouts_read_back_with_their_credit(run):
    hostile = rollout(prompt="</script>\u2028", completion="🧮 \u202e", tokens=["a", "", "\n"], success=False)
    run.write_rollouts(10, [rollout(), hostile])
    run.write_rollouts(2, [rollout(entropy=[], shaped_reward=[], token_ids=[4, 2, 1])])
    assert run.rollout_steps() == [2, 10]
    assert run.read_rollouts(10) == [rollout(), hostile]
    assert run.read_rollouts(2)[0]["entropy"] == []


def test_an_evaluation_reads_back_with_its_metrics(run):
    run.write_evaluation(0, [answer(), answer(sample=1, success=False)], {"mean@2": 0.5, "pass@2": 1.0})
    rows, metrics = run.read_evaluation(0)
    assert rows == [answer(), answer(sample=1, success=False)]
    assert metrics == {"mean@2": 0.5, "pass@2": 1.0}
    assert run.evaluation_steps() == [0]


def test_writing_a_step_again_replaces_it(run):
    run.write_rollouts(1, [rollout()] * 3)
    run.write_rollouts(1, [rollout(group=5)])
    assert [row["group"] for row in run.read_rollouts(1)] == [5]


def test_equals_signs_in_the_path_add_no_columns(tmp_path):
    run = RunDirectory.create(tmp_path / "alpha=0.1")
    run.write_rollouts(1, [rollout()])
    assert run.read_rollouts(1) == [rollout()]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (rollout(reward=math.nan), "'reward' must contain only finite numbers"),
        (rollout(advantage=[0.0, math.inf, 0.0]), "'advantage' must contain only finite numbers"),
        (rollout(prompt=None), "'prompt' must not contain None"),
        (rollout(entropy=[1.0]), "one value per token in every list"),
        (rollout(reward="high"), "do not fit the columns"),
        (rollout(extra=1), "differs in \\['extra'\\]"),
        ({"step": 1}, "must have the columns"),
    ],
)
def test_rollouts_that_do_not_fit_are_refused_and_nothing_is_written(run, row, message):
    with pytest.raises(ValueError, match=message):
        run.write_rollouts(1, [rollout(), row])
    assert run.rollout_steps() == []


def test_a_missing_step_is_refused_with_those_there_are(run):
    with pytest.raises(ValueError, match="available steps: none"):
        run.read_rollouts(1)
    run.write_rollouts(4, [rollout()])
    with pytest.raises(ValueError, match=r"no rollouts of step 1; available steps: 4"):
        run.read_rollouts(1)


def test_a_damaged_table_is_named(run):
    run.write_evaluation(0, [answer()], {})
    path = run.path / "eval" / "step-0.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"step-0\.parquet is not a readable Parquet file"):
        run.read_evaluation(0)


def test_a_table_without_metrics_is_no_evaluation(run):
    run.write_rollouts(0, [rollout()])
    (run.path / "rollouts").rename(run.path / "eval")
    with pytest.raises(ValueError, match=r"step-0\.parquet is not an evaluation"):
        run.read_evaluation(0)


def test_files_left_aside_by_a_kill_are_not_listed(run):
    run.write_rollouts(1, [rollout()])
    (run.path / "rollouts" / ".step-2.parquet.aside").write_bytes(b"PAR1 torn")
    (run.path / "rollouts" / "notes.txt").write_text("mine")
    assert run.rollout_steps() == [1]


# --- checkpoints ---


def checkpoint(run, step, *, mark=True):
    folder = run.checkpoints_path / f"checkpoint-{step}"
    (folder / "adapter").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "adapter" / "config.json").write_text("{}")
    (folder / "empty.txt").write_text("")
    if mark:
        run.mark_checkpoint_complete(folder)
    return folder


def test_the_newest_whole_checkpoint_is_found(run):
    assert run.latest_checkpoint() is None
    folders = [checkpoint(run, step) for step in (50, 100, 9)]
    (run.checkpoints_path / "checkpoint-best").mkdir()
    assert run.latest_checkpoint() == folders[1]


def test_a_checkpoint_without_its_mark_never_shadows_a_whole_one(run):
    whole = checkpoint(run, 50)
    torn = checkpoint(run, 100, mark=False)
    assert run.latest_checkpoint() == whole
    assert run.remove_torn_checkpoints() == [torn]
    assert not torn.exists()
    assert run.latest_checkpoint() == whole


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_checkpoint_that_lost_data_after_its_mark_is_torn(run, damage):
    whole, damaged = checkpoint(run, 50), checkpoint(run, 100)
    weights = damaged / "model.safetensors"
    weights.unlink() if damage == "missing" else weights.write_bytes(b"weights")
    assert run.latest_checkpoint() == whole


def test_files_added_after_the_mark_do_no_harm(run):
    folder = checkpoint(run, 50)
    (folder / "README.md").write_text("mine")
    assert run.latest_checkpoint() == folder


def test_the_mark_holds_every_file_with_its_size(run):
    folder = checkpoint(run, 50)
    assert json.loads((folder / "complete.json").read_text()) == {
        "adapter/config.json": 2, "empty.txt": 0, "model.safetensors": 700,
    }  # fmt: skip
    assert run.latest_checkpoint() == folder


def test_marking_what_is_no_checkpoint_is_refused(run):
    with pytest.raises(ValueError, match="must be a directory with files"):
        run.mark_checkpoint_complete(run.path / "checkpoints" / "checkpoint-1")


def test_the_config_is_plain_yaml(run):
    assert yaml.safe_load(run.config_path.read_text())["task"] == "countdown"


def test_the_next_write_removes_what_a_killed_process_of_this_host_left_behind(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = run.path / f".config.yaml.{platform.node()}.{dead.pid}.aside"
    still_written = run.path / f".config.yaml.{platform.node()}.{os.getppid()}.aside"
    of_another_host = run.path / f".config.yaml.not-{platform.node()}.{dead.pid}.aside"
    for file in (left, still_written, of_another_host):
        file.write_text("half")
    run.write_config({"seed": 0})
    assert not left.exists()
    assert still_written.exists()
    assert of_another_host.exists()
