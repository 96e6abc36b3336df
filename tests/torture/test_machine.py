"""A machine that does not do as it should: directories that cannot be written, files that cannot be read, a clock that
goes back, two of everything at once, and a file system without locks.
"""

import errno
import fcntl
import itertools
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from figures import record
from forks import Commands
from short_runs import COMPARE, EVAL, SMALL, refused, weights

from entroshape.cli import main
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow


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


def test_files_that_cannot_be_read_are_named(reference, reachable, capsys):
    folder = reachable / "locked"
    shutil.copytree(reference, folder)
    (folder / "problems.jsonl").write_text('{"problem": "1 + 1?", "answer": 2}\n')
    run = folder / "run"
    cases = [
        (["report", run], run), (["inspect", run], run), (["train", "--resume", run], run),
        (["train", "--config", run / "config.yaml"], "config.yaml"),
        (["eval", f"--task=jsonl:{folder}/problems.jsonl"], "jsonl"),
        ([*EVAL, f"--output={folder}/answers.parquet"], "answers.parquet"), ([*EVAL, f"--model={run}/model"], run),
    ]  # fmt: skip
    with forbidden(folder, 0o000):
        folder.stat()
        for arguments, word in cases:
            refused(arguments, capsys, words=[word], status=(1, 2))
    record("machine_unreadable", commands=len(cases), refused_rightly=len(cases))


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


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    started = Commands(tmp_path_factory.mktemp("commands") / "log")
    yield started
    started.close()


def both(commands, arguments):
    """The statuses of a command that is started twice at the same moment."""
    return sorted(commands(*arguments, at_once=2))


def test_two_of_everything_at_once_leave_one_whole_result(reference, tmp_path, commands):
    run, answers, together = tmp_path / "run", tmp_path / "answers.parquet", tmp_path / "together"
    tried = {}
    for name, arguments, allowed in (
        ("train", ["train", *SMALL, f"--output={run}"], [[0, 2]]),
        ("eval", [*EVAL, f"--output={answers}"], [[0, 2], [0, 0]]),
        ("compare", [*COMPARE, f"--output={together}"], [[0, 2], [0, 0]]),
        ("report", ["report", run], [[0, 0]]),
        ("inspect", ["inspect", run], [[0, 0]]),
    ):
        tried[name] = both(commands, arguments)
        assert tried[name] in allowed, (name, commands.log.read_text()[-3000:])
    assert weights(run) == weights(reference / "run")
    assert answers.read_bytes() == (reference / "answers.parquet").read_bytes()
    assert main([*COMPARE, f"--output={together}"]) == 0
    assert weights(together / "runs/dapo/seed-0")
    assert "Traceback" not in commands.log.read_text()
    record("machine_two_at_once", commands=len(tried), whole_results=len(tried))


def test_runs_without_a_name_that_start_at_once_get_directories_of_their_own(reference, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = Commands(tmp_path / "log")
    assert both(started, ["train", *SMALL]) == [0, 0], started.log.read_text()[-3000:]
    started.close()
    runs = sorted((tmp_path / "runs").iterdir())
    assert [weights(run) for run in runs] == [weights(reference / "run")] * 2


# --- a file system without locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_warned_of_and_works(number, reference, tmp_path, monkeypatch, capsys):
    def no_locks(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert main(["train", *SMALL, f"--output={tmp_path}/run"]) == 0
    assert "has no locks" in " ".join("".join(capsys.readouterr()).split())
    assert weights(tmp_path / "run") == weights(reference / "run")
    assert main([*EVAL, f"--output={tmp_path}/answers.parquet"]) == 0
    assert (tmp_path / "answers.parquet").read_bytes() == (reference / "answers.parquet").read_bytes()


def test_any_other_failure_to_lock_is_said_with_the_path(tmp_path, monkeypatch, capsys):
    def broken(file, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    refused(["train", *SMALL, f"--output={tmp_path}/run"], capsys, words=[tmp_path / "run"])
