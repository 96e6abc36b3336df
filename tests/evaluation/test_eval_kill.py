"""``entroshape eval`` killed by SIGKILL at random moments: the same command ends with the rows of a call left alone."""

import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from entroshape.cli import main

pytestmark = pytest.mark.slow

ARGUMENTS = ["eval", "--samples=4", "--problems=96", "--batch-size=12", "--seed=3"]
BATCHES = 32


def whole_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed_behind(command, journal, batches, delay):
    """Starts the command and kills it some moments behind so many batches; how many were done then, and its output."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        deadline = time.monotonic() + 120
        while whole_lines(journal) - 1 < batches and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        output = child.communicate()[0]
    assert child.returncode == -signal.SIGKILL, output
    return whole_lines(journal) - 1, output


def test_killed_at_random_moments_it_ends_with_the_same_file(tmp_path, capsys):
    assert main([*ARGUMENTS, f"--output={tmp_path / 'whole.parquet'}"]) == 0
    capsys.readouterr()

    moments = random.Random()
    path, journal = tmp_path / "killed.parquet", tmp_path / "killed.parquet.partial"
    command = [sys.executable, "-m", "entroshape", *ARGUMENTS, f"--output={path}"]
    done = 0
    for aim in (3, 14):
        before = done
        done, output = killed_behind(command, journal, aim, moments.uniform(0, 0.1))
        # Nothing that was done is lost: this call went on behind it, and every batch since is there.
        assert (f"resuming after {12 * before} completions" in output) == (before > 0)
        assert aim <= done < BATCHES
        assert not path.exists()

    assert main([*ARGUMENTS, f"--output={path}"]) == 0
    assert f"resuming after {12 * done} completions" in capsys.readouterr().out
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["killed.parquet", "whole.parquet"]
    killed, whole = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("killed", "whole"))
    assert killed.num_rows == 384
    assert killed.equals(whole, check_metadata=True)
