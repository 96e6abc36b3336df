"""The main job for real: the bundled model, a few small steps, a run directory to read back and to go on with."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file
from small_run import untimed

from entroshape.cli import main
from entroshape.metrics.wording import wording
from entroshape.report.kinds import credit_by_kind
from entroshape.runs import RunDirectory
from entroshape.tasks import load_task
from entroshape.training.config import TrainConfig
from entroshape.training.run import engine_arguments

pytestmark = pytest.mark.slow

SMALL = [
    "--prompts-per-step=4",
    "--num-generations=8",
    "--train-size=200",
    "--eval-problems=8",
    "--eval-samples=2",
    "--device=cpu",
    "--max-refills=1",
]


def command(*arguments):
    return [sys.executable, "-m", "entroshape", "train", *map(str, arguments)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run of four steps with a checkpoint at every second one."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", *SMALL, "--steps=4", "--save-every=2", "--rollouts-every=2", f"--output={path}"]) == 0
    return RunDirectory.open(path)


def test_a_run_leaves_everything_behind(finished):
    config = finished.read_config()
    assert config["steps"] == 4
    assert config["environment"]["torch"]
    assert finished.evaluation_steps() == [0, 4]
    assert finished.rollout_steps() == [1, 2, 4]
    assert (finished.path / "report.html").stat().st_size > 10_000
    assert (finished.path / "model" / "model.safetensors").is_file()
    assert finished.latest_checkpoint().name == "checkpoint-8"


def test_metrics_by_kind_are_to_the_digit_the_figures_of_the_kept_rollouts(finished):
    for step in finished.rollout_steps():
        (metrics,) = (row for row in finished.read_metrics() if row["step"] == step)
        texts, shown = {}, {name: wording(name).value(value) for name, value in metrics.items() if "kind/" in name}
        for row in credit_by_kind(finished.read_rollouts(step)):
            outcome = "success" if row.success else "failure"
            for quantity in () if row.summary else ("share", "entropy", "weight", "advantage"):
                if getattr(row, quantity) is not None:
                    name = f"kind/{outcome}/{quantity}/{row.kind}"
                    texts[name] = wording(name).value(getattr(row, quantity))
        assert shown == texts
        assert {"kind/failure/weight/copy", "kind/failure/entropy/operator"} <= shown.keys()
        assert 0 < metrics["penalty_on_decisions"] < 1


def test_completions_that_were_cut_can_be_left_out_of_the_loss(tmp_path):
    options = ["--steps=1", "--max-completion-length=17", "--mask-truncated-completions", "--method=dapo"]
    assert main(["train", *SMALL, *options, "--dynamic-sampling=False", f"--output={tmp_path / 'run'}"]) == 0
    run = RunDirectory.open(tmp_path / "run")
    (metrics,) = run.read_metrics()
    lengths = [len(row["tokens"]) for row in run.read_rollouts(1)]
    assert 0 < metrics["share_cut"] < 1
    assert lengths.count(0) == round(metrics["share_cut"] * len(lengths))
    assert max(lengths) <= 17


def test_every_step_logs_what_people_look_at(finished):
    rows = finished.read_metrics()
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    wanted = {
        "reward", "success_rate", "entropy", "completion_length", "share_cut", "gated_groups", "refills", "clip_low",
        "clip_high", "loss", "grad_norm", "learning_rate", "seconds_sampling", "seconds_scoring", "seconds_shaping",
        "seconds_updating", "tokens_per_second",
    }  # fmt: skip
    for row in rows:
        assert wanted <= set(row)
        assert all(math.isfinite(value) for value in row.values())
    named = set().union(*rows)
    assert {"entropy_success", "entropy_failure", "shaped_spread", "negative_success_share"} <= named


def test_rollouts_hold_a_value_for_every_token(finished):
    rows = finished.read_rollouts(2)
    assert len(rows) == 32
    for row in rows:
        assert len(row["tokens"]) == len(row["entropy"]) == len(row["shaped_reward"]) == len(row["advantage"])
        assert row["success"] == (row["reward"] > 0.5)
        assert all(entropy >= 0 for entropy in row["entropy"])
        assert not row["gated"] or not any(row["advantage"])


def test_a_killed_run_resumes_to_the_same_metrics_and_weights(finished, tmp_path):
    path = tmp_path / "killed"
    log = (tmp_path / "log").open("w")
    options = [*SMALL, "--steps=4", "--save-every=2", "--rollouts-every=2", f"--output={path}"]
    process = subprocess.Popen(command(*options), stdout=log, stderr=log)
    deadline = time.monotonic() + 240
    metrics = path / "metrics.jsonl"
    while not (metrics.is_file() and '"step": 3' in metrics.read_text()):  # past the checkpoint of step 2
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with metrics.open("a") as file:
        file.write('{"step": 4, "succ')  # a line that the kill has torn

    assert main(["train", f"--resume={path}"]) == 0
    resumed = RunDirectory.open(path)
    assert untimed(resumed.read_metrics()) == untimed(finished.read_metrics())
    for step in (0, 4):
        assert resumed.read_evaluation(step) == finished.read_evaluation(step)
    for step in (1, 2, 4):
        assert resumed.read_rollouts(step) == finished.read_rollouts(step)
    weights, expected = (load_file(run.path / "model/model.safetensors") for run in (resumed, finished))
    assert all(weights[name].equal(expected[name]) for name in expected)


def test_a_reward_function_that_raises_names_itself_and_the_step_and_leaves_a_good_checkpoint(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "failing_rewards.py").write_text(
        "calls = 0\n"
        "def fails_later(prompts, completions, **columns):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if calls > 4:  # the first is the evaluation before training\n"
        "        raise KeyError('the fifth call')\n"
        "    return [float(len(completion) % 2) for completion in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    options = ["--reward=failing_rewards:fails_later", "--method=grpo", "--steps=4"]
    assert main(["train", *SMALL, *options, "--save-every=1", "--output=out"]) == 1
    said = capsys.readouterr().err
    why = "reward function 'failing_rewards:fails_later' raised KeyError: 'the fifth call'"
    assert f"entroshape: scoring failed at step 4: {why}. You can resume" in said
    assert "Traceback" not in said
    run = RunDirectory.open("out")
    assert run.latest_checkpoint().name == "checkpoint-6"  # two updates per step, three whole steps
    assert [row["step"] for row in run.read_metrics()] == [1, 2, 3]


def test_lora_trains_saves_and_loads_an_adapter(tmp_path):
    from entroshape.models import load_model

    path = tmp_path / "lora"
    options = ["--method=grpo_s", "--lora-rank=4", "--steps=2", "--learning-rate=1e-3", f"--output={path}"]
    assert main(["train", *SMALL, *options]) == 0
    assert (path / "model/adapter_model.safetensors").is_file()
    assert not (path / "model/model.safetensors").exists()
    model, tokenizer = load_model(str(path / "model"))
    ids = tokenizer("3 7 5 2 > 24 :", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=4).shape[1] > ids["input_ids"].shape[1]


def test_another_method_starts_from_the_same_weights_on_the_same_prompts(finished, tmp_path):
    path = tmp_path / "other"
    assert (
        main(["train", f"--config={finished.path}/config.yaml", "--method=dapo", "--steps=1", f"--output={path}"]) == 0
    )
    other = RunDirectory.open(path)
    assert other.read_evaluation(0) == finished.read_evaluation(0)
    first = [row["completion"] for row in other.read_rollouts(1)]
    assert first == [row["completion"] for row in finished.read_rollouts(1)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=./nowhere"], ["nowhere", "countdown-tiny"]),
        (["--task=reasoning_gym:chain_sum", "--train-size=10"], ["countdown-tiny", "chain_sum", "another model"]),
        (["--task=countdwn"], ["countdwn", "countdown"]),
        (["--method=gtpoo"], ["gtpoo", "gtpo, grpo_s"]),
        (["--method-options", "alpha3=1"], ["alpha3", "alpha2"]),
        (["--method-options", "alpha2=-1"], ["alpha2", "-1"]),
        (["--reward=no_such_module:f"], ["no_such_module"]),
        (["--resume=nowhere"], ["nowhere"]),
        (["--config=nowhere.yaml"], ["nowhere.yaml"]),
        (["--report-to=wandb"], ["wandb", "pip install"]),
    ],
)
def test_what_cannot_work_is_refused_at_the_door_in_one_sentence(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["train", "--steps=1", *arguments] if "--resume=nowhere" not in arguments else ["train", *arguments]) == 2
    )
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert not list(tmp_path.glob("runs/*/metrics.jsonl"))


def test_a_directory_that_is_not_empty_is_not_written_into(capsys, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["train", "--steps=1", f"--output={tmp_path}"]) == 2
    assert "--output" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious.txt"]


def test_a_file_in_the_way_of_the_directory_is_named_in_a_sentence(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert main(["train", "--steps=1", f"--output={tmp_path / 'file' / 'x'}"]) == 1
    message = capsys.readouterr().err
    assert str(tmp_path / "file") in message
    assert "Traceback" not in message


def test_the_command_lists_its_commands(capsys):
    assert main([]) == 0
    assert "train" in capsys.readouterr().out
    assert main(["trian"]) == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["auto", "own", "generate"])
def test_the_engine_samples_with_what_the_options_name(name):
    task = load_task("countdown", train_size=4, test_size=2, seed=0)
    assert engine_arguments(TrainConfig(sampler=name), task, 1).sampler == name
    with pytest.raises(ValueError, match="sampler must be one of 'auto', 'own', 'generate'; got 'vllm'"):
        TrainConfig(sampler="vllm")
