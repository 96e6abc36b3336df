"""`entroshape train --report-to`: TensorBoard's files lie in the run's directory and say what metrics.jsonl says."""

import pytest

from entroshape.cli import main
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

SMALL = [
    "--prompts-per-step=2",
    "--num-generations=4",
    "--train-size=100",
    "--eval-problems=2",
    "--eval-samples=2",
    "--device=cpu",
    "--max-refills=1",
    "--steps=3",
    "--save-every=2",
    "--report-to=tensorboard",
]
NOT_OURS = {"step", "optimizer_step", "loss", "grad_norm", "learning_rate", "clip_low", "clip_high"}
"""In metrics.jsonl, but under TRL's own names in a tracker, or not in it."""


def scalars(folder):
    """{name: [(step, value), ...]} of our metrics, as TensorBoard itself reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    names = [name for name in events.Tags()["scalars"] if "entroshape/" in name]
    return {
        name.partition("entroshape/")[2]: [(event.step, event.value) for event in events.Scalars(name)]
        for name in names
    }


def written(run):
    """The same from metrics.jsonl."""
    values = {}
    for row in run.read_metrics():
        for name in row.keys() - NOT_OURS:
            values.setdefault(name, []).append((row["optimizer_step"], pytest.approx(row[name], rel=1e-6)))
    return values


@pytest.fixture(autouse=True)
def no_directory_of_the_users(monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)


def test_tensorboard_says_what_the_metrics_file_says_also_after_a_resume(tmp_path):
    path = tmp_path / "run"
    assert main(["train", *SMALL, f"--output={path}"]) == 0
    run = RunDirectory.open(path)
    assert not (run.checkpoints_path / "runs").exists()
    assert scalars(path / "tensorboard") == written(run)
    assert "entropy" in written(run)

    # The last checkpoint is that of step 2: step 3 is done, and logged, once more.
    assert run.latest_checkpoint().name == "checkpoint-6"
    for place in (run.checkpoints_path / "checkpoint-6").iterdir():
        place.unlink()
    (run.checkpoints_path / "checkpoint-6").rmdir()
    assert main(["train", f"--resume={path}"]) == 0
    assert scalars(path / "tensorboard") == written(run)


def test_a_directory_of_the_users_goes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    assert main(["train", *SMALL, "--steps=1", f"--output={tmp_path / 'run'}"]) == 0
    assert scalars(tmp_path / "mine") == written(RunDirectory.open(tmp_path / "run"))
    assert not (tmp_path / "run" / "tensorboard").exists()
