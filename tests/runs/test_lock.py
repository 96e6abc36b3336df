"""One process at a time trains a run."""

import errno
import os

import pytest

from entroshape.runs import RunDirectory
from entroshape.runs.files import fcntl

pytestmark = pytest.mark.skipif(fcntl is None, reason="no such locks on this system")


def test_a_run_that_is_held_is_refused_and_free_again_afterwards(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    with run.hold(), pytest.raises(ValueError, match="another process is training the run"), run.hold():
        pass
    with run.hold():
        pass


def test_the_lock_is_nothing_that_a_new_run_stumbles_over(tmp_path):
    with RunDirectory.create(tmp_path / "run").hold():
        RunDirectory.create(tmp_path / "run")


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    run = RunDirectory.create(tmp_path / "run")
    with pytest.warns(UserWarning, match="has no locks"), run.hold():
        pass


def test_what_a_resumed_run_makes_again_is_forgotten(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    row = {
        "problem": "p", "sample": 0, "prompt": "1", "completion": "2", "reward": 1.0, "success": True, "length": 1,
        "cut": False, "entropy": 0.5,
    }  # fmt: skip
    for step in (1, 2, 3):
        run.append_metrics({"step": step})
        run.write_evaluation(step, [row], {"mean@1": 1.0})
    run.forget_after(2)
    assert [line["step"] for line in run.read_metrics()] == [1, 2]
    assert run.evaluation_steps() == [1, 2]
