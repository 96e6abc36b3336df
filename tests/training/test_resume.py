"""Resuming: a run that was stopped anywhere ends as if it had not been, and one that is finished stays as it is."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_run import SMALL_RUN, outcome

from entroshape.assets import bundled_model_path
from entroshape.cli import main
from entroshape.runs import RunDirectory
from entroshape.runs.checkpoints import mark_whole

pytestmark = pytest.mark.slow

SMALL = [
    *SMALL_RUN,
    "--steps=4",
    "--save-every=2",
    "--eval-every=2",
    "--rollouts-every=2",
    "--ema-decay=0.9",
    "--anchor=0.01",
]


def contents(folder):
    """Every file's bytes and time of change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def ranks(count, *arguments):
    """``entroshape train`` on so many processes; the launcher line of the documentation."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}",
         "-m", "entroshape", "train", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", *SMALL, f"--output={path}"]) == 0
    return RunDirectory.open(path)


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run, to be damaged."""
    return RunDirectory.open(shutil.copytree(finished.path, tmp_path / "copy"))


def test_a_finished_run_that_is_resumed_changes_nothing(copy, capsys):
    before = contents(copy.path)
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert "is already finished" in capsys.readouterr().out
    assert contents(copy.path) == before


@pytest.mark.parametrize("lost", ["report", "model", "mean", "evaluation", "earlier evaluation", "all"])
def test_a_run_resumed_at_its_last_step_trains_nothing_and_finishes_what_is_missing(finished, copy, lost):
    checkpoint = contents(copy.checkpoints_path)
    if lost in ("report", "earlier evaluation", "all"):
        copy.report_path.unlink()
    if lost in ("model", "all"):
        shutil.rmtree(copy.model_path)
    if lost in ("mean", "all"):
        shutil.rmtree(copy.ema_model_path)
    if lost in ("evaluation", "all"):
        (copy.path / "eval/step-4.parquet").unlink()
    if lost == "earlier evaluation":  # what is stopped in its last steps lacks no earlier one, unless it was removed
        shutil.rmtree(copy.checkpoints_path / "checkpoint-8")
        (copy.path / "eval/step-2.parquet").unlink()
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert outcome(copy) == outcome(finished)
    assert copy.is_finished(4, ema=True)
    if lost != "earlier evaluation":
        assert contents(copy.checkpoints_path) == checkpoint


def test_what_was_made_past_the_checkpoint_is_made_again(finished, copy):
    copy.report_path.unlink()
    shutil.rmtree(copy.checkpoints_path / "checkpoint-8")
    rows, metrics = copy.read_evaluation(4)
    copy.write_evaluation(4, rows[:2], {**metrics, "mean@2": 0.987})  # as if of other weights
    copy.write_rollouts(4, copy.read_rollouts(2))
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert outcome(copy) == outcome(finished)


def test_the_mean_is_a_model_of_its_own_between_the_start_and_the_last_weights(finished):
    start = load_file(bundled_model_path() / "model.safetensors")
    last, mean = (load_file(path / "model.safetensors") for path in (finished.model_path, finished.ema_model_path))
    ours, theirs = (
        sorted(file.name for file in path.iterdir()) for path in (finished.model_path, finished.ema_model_path)
    )
    assert ours == theirs
    assert last.keys() == mean.keys()

    def distance(weights):
        return sum(float((weights[name].float() - start[name].float()).square().sum()) for name in start)

    assert 0 < distance(mean) < distance(last)
    checkpoints = [load_file(finished.checkpoints_path / f"checkpoint-{updates}/ema.safetensors") for updates in (4, 8)]
    assert checkpoints[0].keys() == checkpoints[1].keys() <= last.keys()
    assert all(torch.equal(checkpoints[1][name], mean[name]) for name in checkpoints[1])


def test_a_checkpoint_whose_mean_was_lost_is_refused_before_anything_is_changed(copy, capsys):
    copy.report_path.unlink()
    (copy.checkpoints_path / "checkpoint-8/ema.safetensors").unlink()
    (copy.checkpoints_path / "checkpoint-8/complete.json").unlink()
    mark_whole(copy.checkpoints_path / "checkpoint-8")
    before = contents(copy.path)
    assert main(["train", f"--resume={copy.path}"]) == 2
    assert "checkpoint-8 has no ema.safetensors" in capsys.readouterr().err
    assert contents(copy.path) == before


def test_the_model_is_never_half_there(finished, copy, monkeypatch):
    from entroshape.engines.trl import ShapedGRPOTrainer

    shutil.rmtree(copy.model_path)
    save = ShapedGRPOTrainer.save_model

    def interrupted(self, folder, *rest, **named):
        save(self, folder, *rest, **named)
        (copy.path / "left-behind").write_text(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(ShapedGRPOTrainer, "save_model", interrupted)
    assert main(["train", f"--resume={copy.path}"]) == 130
    assert (copy.path / "left-behind").read_text() != str(copy.model_path)
    assert not copy.model_path.exists()
    monkeypatch.undo()
    assert main(["train", f"--resume={copy.path}"]) == 0
    assert outcome(copy) == outcome(finished)
    assert not (copy.path / ".model.aside").exists()


def test_a_run_that_another_process_trains_is_refused_in_one_sentence(copy, capsys):
    shutil.rmtree(copy.model_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from entroshape.runs import RunDirectory\n"
         "with RunDirectory.open(sys.argv[1]).hold(): print('held', flush=True); sys.stdin.read()", str(copy.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    before = contents(copy.path)
    assert main(["train", f"--resume={copy.path}"]) == 2
    said = capsys.readouterr().err
    assert f"another process is training the run in {copy.path}" in said
    assert "Traceback" not in said
    assert contents(copy.path) == before
    holder.kill()  # the system releases what a killed process held
    holder.communicate()
    assert main(["train", f"--resume={copy.path}"]) == 0


def test_divergence_is_one_sentence_with_step_cause_and_last_good_checkpoint(tmp_path, capsys):
    options = [*SMALL, "--learning-rate=1e9", "--save-every=1", "--eval-every=0"]
    assert main(["train", *options, f"--output={tmp_path / 'run'}"]) == 1
    said = capsys.readouterr().err
    run = RunDirectory.open(tmp_path / "run")
    assert "training diverged in step " in said
    assert "not finite" in said
    assert f", {run.latest_checkpoint()}" in said
    assert "The last checkpoint with finite weights is that of step " in said
    assert "Traceback" not in said
    assert all(weight.isfinite().all() for weight in load_file(run.latest_checkpoint() / "model.safetensors").values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path, capsys, monkeypatch):
    step = torch.optim.AdamW.step
    calls = []

    def broken(self, *rest, **named):
        result = step(self, *rest, **named)
        calls.append(1)
        if len(calls) == 2:
            self.param_groups[0]["params"][0].data.view(-1)[0] = float("nan")
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    assert main(["train", *SMALL, "--save-every=1", f"--output={tmp_path / 'run'}"]) == 1
    said = capsys.readouterr().err
    assert "diverged in step 1: weights are not finite after optimizer update 2" in said
    assert "There is no checkpoint to return to" in said
    assert RunDirectory.open(tmp_path / "run").latest_checkpoint() is None


def test_a_checkpoint_of_weights_that_are_not_finite_is_not_trained_on(copy, capsys):
    copy.report_path.unlink()
    shutil.rmtree(copy.checkpoints_path / "checkpoint-8")
    path = copy.checkpoints_path / "checkpoint-4/model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name][0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    assert main(["train", f"--resume={copy.path}"]) == 1
    said = capsys.readouterr().err
    assert "diverged" in said
    assert "Traceback" not in said


def test_two_ranks_resume_to_what_two_ranks_would_have_made(tmp_path):
    path, cut = tmp_path / "whole", tmp_path / "cut"
    whole = ranks(2, *SMALL, f"--output={path}")
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert "process group has NOT been destroyed" not in whole.stderr
    shutil.copytree(path, cut)
    (cut / "report.html").unlink()
    shutil.rmtree(cut / "checkpoints/checkpoint-8")
    resumed = ranks(2, f"--resume={cut}")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "differ" not in resumed.stdout
    assert outcome(RunDirectory.open(cut)) == outcome(RunDirectory.open(path))

    # From two ranks to one: it continues, deterministically, and says what is different.
    said = []
    for name in ("one", "again"):
        alone = shutil.copytree(path, tmp_path / name)
        (alone / "report.html").unlink()
        shutil.rmtree(alone / "checkpoints/checkpoint-8")
        said.append(ranks(1, f"--resume={alone}").stdout)
    assert "checkpoint was written by 2 processes and is resumed by 1 process" in said[0]
    assert outcome(RunDirectory.open(tmp_path / "one")) == outcome(RunDirectory.open(tmp_path / "again"))


def test_one_rank_resumes_on_two_deterministically_and_says_what_is_different(finished, tmp_path):
    outcomes = []
    for name in ("two", "again"):
        both = shutil.copytree(finished.path, tmp_path / name)
        (both / "report.html").unlink()
        shutil.rmtree(both / "checkpoints/checkpoint-8")
        resumed = ranks(2, f"--resume={both}")
        assert resumed.returncode == 0, resumed.stderr[-3000:]
        assert "checkpoint was written by 1 process and is resumed by 2 processes" in resumed.stdout
        outcomes.append(outcome(RunDirectory.open(both)))
    assert outcomes[0] == outcomes[1]
    assert RunDirectory.open(tmp_path / "two").is_finished(4)


def test_a_batch_that_does_not_split_over_the_ranks_is_refused_before_anything_is_changed(copy):
    shutil.rmtree(copy.model_path)
    before = contents(copy.path)
    refused = ranks(3, f"--resume={copy.path}")
    assert refused.returncode
    assert "must divide evenly among 3 devices" in refused.stderr
    after = contents(copy.path)
    assert {name for name in after if after[name] != before.get(name)} <= {".lock"}
