"""A machine that does not do as it should: a full disk, directories that cannot be written, a clock that goes back, two
of everything at once, and a file system without locks. Nothing that was whole is lost, and every run can be resumed.
"""

import itertools
import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from figures import record

from entroshape.cli import main
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow
SMALL = ["--steps=3", "--prompts-per-step=2", "--num-generations=4", "--train-size=20", "--eval-problems=2",
         "--eval-samples=1", "--save-every=1", "--rollouts-every=1", "--max-refills=1", "--device=cpu"]  # fmt: skip
EVAL = ["eval", "--problems=4", "--samples=1", "--batch-size=1", "--device=cpu"]
COMPARE = ["compare", "--methods=dapo", "--seeds=1", *SMALL]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run, and an evaluation, that nothing disturbed."""
    folder = tmp_path_factory.mktemp("reference")
    assert main(["train", *SMALL, f"--output={folder}/run"]) == 0
    assert main([*EVAL, f"--output={folder}/answers.parquet"]) == 0
    return folder


def weights(run):
    return (Path(run) / "model" / "model.safetensors").read_bytes()


def refused(arguments, capsys, *, words, status=(1,)):
    """The one sentence that a command ended with."""
    capsys.readouterr()
    got = main([*map(str, arguments)])
    said = capsys.readouterr().err
    own = [line for line in said.splitlines() if line.startswith("entroshape: ")]
    assert got in status, (arguments, got, said[-500:])
    assert len(own) == 1, said
    assert "Traceback" not in said, said
    assert any(str(word) in own[0] for word in words), own[0]
    return own[0]


# --- a full disk ------------------------------------------------------------------------------------------------------


@contextmanager
def disk(folder, megabytes):
    """A file system of this size; skips where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * MEGABYTE)}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own has to be mounted, which takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    """Writes to a file until the disk is full."""
    with path.open("ab") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))


def grown(folder, megabytes):
    subprocess.run(["mount", "-o", f"remount,size={int(megabytes * MEGABYTE)}", str(folder)], check=True)


def test_an_evaluation_and_a_report_on_a_full_disk_lose_nothing(reference, tmp_path, capsys):
    with disk(tmp_path / "disk", 100) as folder:
        shutil.copytree(reference / "run", folder / "run")
        report = (folder / "run" / "report.html").read_bytes()
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE
        (folder / "ballast").write_bytes(bytes(int(99.9 - used) * MEGABYTE))
        fill(folder / "ballast")
        refused(["report", folder / "run"], capsys, words=["report.html cannot be written: No space left on device"])
        assert (folder / "run" / "report.html").read_bytes() == report
        answers = folder / "answers.parquet"
        refused([*EVAL, f"--output={answers}"], capsys, words=[answers])
        (folder / "ballast").unlink()
        assert main([*EVAL, f"--output={answers}"]) == 0
        assert answers.read_bytes() == (reference / "answers.parquet").read_bytes()
        assert not Path(f"{answers}.partial").exists()


@pytest.mark.parametrize("megabytes", [1, 5])
def test_a_limit_on_the_size_of_files_is_said_like_a_full_disk(megabytes, reference, tmp_path, capsys):
    """1 MB keeps the model from being saved, 5 MB the optimizer's state: those whom a quota stops."""
    run, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * MEGABYTE, limits[1]))
    try:
        refused(["train", *SMALL, f"--output={run}"], capsys, words=[run / "checkpoints"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert main(["train", "--resume", str(run)]) == 0
    assert weights(run) == weights(reference / "run")


# --- directories and files that cannot be written or read -------------------------------------------------------------


@contextmanager
def forbidden(folder, mode):
    """Nothing in the folder can be written (0o555) or read (0o000), for root too, who becomes somebody else."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    before = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(mode if path.is_dir() else mode & 0o444)
    user = os.geteuid()
    if user == 0:
        folder.parent.chmod(0o755)
        os.seteuid(65534)
    try:
        if os.access(folder, os.W_OK, effective_ids=True):
            pytest.skip("permissions are not kept here")
        yield
    finally:
        os.seteuid(user)
        for path, own in before.items():
            path.chmod(own)


@pytest.fixture
def reachable(tmp_path):
    """A folder that anybody can reach."""
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == "root" and path.is_relative_to(os.environ.get("TMPDIR", "/tmp")) and os.geteuid() == 0:
            path.chmod(path.stat().st_mode | 0o055)
    return tmp_path


def test_directories_that_cannot_be_written_are_named_and_stay_as_they_are(reference, reachable, capsys):
    folder = reachable / "kept"
    shutil.copytree(reference, folder)
    shutil.rmtree(folder / "run" / "model")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    cases = [
        (["train", *SMALL, f"--output={folder}/new"], folder / "new"),
        (["train", "--resume", folder / "run"], folder / "run"),
        ([*EVAL, f"--output={folder}/new.parquet"], folder / "new.parquet"),
        ([*COMPARE, f"--output={folder}/compared"], folder / "compared"),
        (["report", folder / "run"], "report.html"),
    ]
    with forbidden(folder, 0o555):
        for arguments, word in cases:
            assert "Permission denied" in refused(arguments, capsys, words=[word])
        assert main(["inspect", str(folder / "run")]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    record("machine_read_only", commands=len(cases), refused_rightly=len(cases), files_changed=0)


# --- a clock that goes back -------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_changes_nothing(reference, tmp_path, monkeypatch):
    """Every look at it says an hour less, and every checkpoint is older than the one before."""
    hours, mark = itertools.count(), RunDirectory.mark_checkpoint_complete

    def marked(self, checkpoint):
        mark(self, checkpoint)
        then = 2_000_000_000 - 3600 * next(hours)
        for path in (checkpoint, *Path(checkpoint).iterdir()):
            os.utime(path, (then, then))

    monkeypatch.setattr(RunDirectory, "mark_checkpoint_complete", marked)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0 - 3600 * next(hours))
    run = tmp_path / "run"
    assert main(["train", *SMALL, f"--output={run}"]) == 0
    assert weights(run) == weights(reference / "run")
    opened = RunDirectory.open(run)
    assert opened.latest_checkpoint().name == "checkpoint-6"
    assert sorted(path.name for path in opened.checkpoints_path.glob("checkpoint-*")) == [
        "checkpoint-4",
        "checkpoint-6",
    ]
    shutil.rmtree(run / "model")
    assert main(["train", "--resume", str(run)]) == 0
    assert weights(run) == weights(reference / "run")
    assert main([*EVAL, f"--output={tmp_path}/answers.parquet"]) == 0
    assert (tmp_path / "answers.parquet").read_bytes() == (reference / "answers.parquet").read_bytes()


# --- two of everything at once ----------------------------------------------------------------------------------------


# --- a file system without locks --------------------------------------------------------------------------------------
