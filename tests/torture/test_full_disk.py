"""A disk that is full, and a limit on the size of files: nothing that was whole is lost, every run can be resumed."""

import itertools
import os
import resource
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from figures import amount, record
from short_runs import EVAL, SMALL, refused, weights

from entroshape.cli import main
from entroshape.runs import RunDirectory
from entroshape.training import run as training_run

pytestmark = pytest.mark.slow
MEGABYTE = 1_000_000


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
