"""A machine that does not do as it should: a full disk, directories that cannot be written, a clock that goes back, two
of everything at once, and a file system without locks. Nothing that was whole is lost, and every run can be resumed.
"""

import errno
import fcntl
import itertools
import os
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from figures import amount, record
from forks import Commands

from entroshape.cli import main
from entroshape.runs import RunDirectory
from entroshape.training import run as training_run

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


def test_a_disk_that_is_full_at_any_moment_costs_nothing_that_was_whole(reference, tmp_path, capsys):
    """The sizes end in the options and in the first, second and third checkpoint."""
    sizes = [0.004, 0.3, 2, 5, 9, 13, 17, 21, 26, 30]
    failed = 0
    for size in sizes[:: amount(4, 1)]:
        with disk(tmp_path / f"disk-{size}", size) as folder:
            run = folder / "run"
            said = refused(["train", *SMALL, f"--output={run}"], capsys, words=[run])
            assert "No space left" in said or "0.0 MB are free" in said or " MB are free" in said
            failed += 1
            whole = [path.name for path in run.glob("checkpoints/*") if (path / "complete.json").is_file()]
            grown(folder, 100)
            again = ["--resume", str(run)] if (run / "config.yaml").is_file() else [*SMALL, f"--output={run}"]
            assert main(["train", *again]) == 0
            out = capsys.readouterr().out
            assert "starting over" not in out or not whole
            assert weights(run) == weights(reference / "run")
            assert RunDirectory.open(run).read_evaluation(3) == RunDirectory.open(reference / "run").read_evaluation(3)
    record("machine_full_disk_sizes", sizes=failed, resumed_bit_for_bit=failed)


WRITES = [
    (RunDirectory, "write_report", 1), (RunDirectory, "write_evaluation", 2), (RunDirectory, "append_metrics", 2),
    (RunDirectory, "write_rollouts", 2), (RunDirectory, "write_evaluation", 1),
    (RunDirectory, "mark_checkpoint_complete", 2), (RunDirectory, "write_config", 1), (training_run, "_save_model", 1),
]  # fmt: skip


@pytest.mark.parametrize(("place", "name", "call"), WRITES[: amount(2, None)])
def test_a_disk_that_is_full_when_a_file_is_written_is_said_and_the_run_resumes(
    place, name, call, reference, tmp_path, monkeypatch, capsys
):
    calls, write = itertools.count(1), getattr(place, name)

    def written(*arguments, **options):
        if next(calls) == call:
            fill(folder / "ballast")
        return write(*arguments, **options)

    with disk(tmp_path / "disk", 60) as folder, monkeypatch.context() as patched:
        patched.setattr(place, name, written)
        said = refused(["train", *SMALL, f"--output={folder}/run"], capsys, words=[folder])
        assert "No space left" in said or "0.0 MB are free" in said
        (folder / "ballast").unlink()
        patched.undo()
        again = ["--resume", str(folder / "run")] if name != "write_config" else [*SMALL, f"--output={folder}/run"]
        assert main(["train", *again]) == 0
        assert weights(folder / "run") == weights(reference / "run")
        assert RunDirectory.open(folder / "run").is_finished(3)


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
