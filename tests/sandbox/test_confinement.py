"""The sandbox of scoring processes: each forbidden thing is really tried, inside, outside, and with parts missing."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from entroshape.sandbox.attempts import ATTEMPTS
from entroshape.tasks.enforcement import sandbox_report
from entroshape.tasks.workers import ScoringPool

pytestmark = pytest.mark.slow

needs_sandbox = pytest.mark.skipif(
    sys.platform != "linux" or not sandbox_report().complete, reason="the sandbox is not complete on this machine"
)

FORBIDDEN = sorted(ATTEMPTS.keys() - {"load_code", "own_process_files"})
SECRET = "ENTROSHAPE_TEST_SECRET"


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """What the attempts are made on."""
    folder = tmp_path_factory.mktemp("open")
    private = folder / "private"
    private.write_text("secret")
    os.environ[SECRET] = "1"
    yield {
        "signal_process": os.getpid(),
        "signal_group": os.getpgrp(),
        "process_files": os.getpid(),
        "write_file": str(folder),
        "append_to_file": str(private),
        "make_folder": str(folder),
        "read_file": str(private),
        "list_folder": (str(folder), ["private"]),
        "environment_variable": SECRET,
        "take_memory": 1 << 29,
    }
    del os.environ[SECRET]


@pytest.fixture(scope="module")
def pool():
    pool = ScoringPool("attempts", workers=1, time_limit=20.0, memory_limit=1 << 28)
    yield pool
    pool.close()


@needs_sandbox
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_thing_fails_inside(pool, targets, name):
    jobs = [{"attempt": name, "target": targets.get(name), "alone": alone} for alone in (True, False)]
    for judgement in pool.judge(jobs):
        assert judgement.failure is None, "the process did not survive, and may have done it"
        assert (judgement.score, bool(judgement.answer)) == (0.0, True)


@needs_sandbox
def test_libraries_can_still_import_late(pool):
    assert pool.score([{"attempt": "load_code", "target": None}]) == [1.0]


OUTSIDE = """
import json, os, sys
from entroshape.sandbox.attempts import attempt
os.setpgid(0, 0)
name, target = json.loads(sys.argv[1])
if name == "signal_group":
    target = os.getpgrp()
sys.exit(attempt(name, target)[0] != 1)
"""


@needs_sandbox
@pytest.mark.parametrize("name", sorted(set(FORBIDDEN) - {"trace_parent", "message_queue", "survive_parent"}))
def test_the_same_thing_succeeds_outside(targets, name):
    # Three are left out: containers may forbid them, and the parent here is the test itself.
    command = [sys.executable, "-c", OUTSIDE, json.dumps([name, targets.get(name)])]
    assert subprocess.run(command, check=False).returncode == 0


def without(tmp_path, *missing):
    """An environment in which parts of the sandbox are missing."""
    for name in {"pyseccomp", "py_landlock"} & set(missing):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    path = "" if "bwrap" in missing else os.environ["PATH"]
    return os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}", "PATH": path}


def report(environment):
    command = [sys.executable, "-m", "entroshape.sandbox"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not found.stderr
    return found.returncode, found.stdout


@needs_sandbox
@pytest.mark.parametrize("missing", ["bwrap", "py_landlock"])
def test_either_of_landlock_and_bubblewrap_is_enough_beside_seccomp(tmp_path, missing):
    if not shutil.which("bwrap") or "bubblewrap" not in sandbox_report().mechanisms:
        pytest.skip("bubblewrap does not work here")
    status, text = report(without(tmp_path, missing))
    assert (status, "NOT PREVENTED" in text) == (0, False), text
    assert {"bwrap": "bubblewrap", "py_landlock": "Landlock"}[missing] not in text


@needs_sandbox
@pytest.mark.parametrize(
    ("missing", "broken"),
    [
        (("bwrap", "py_landlock"), ("read the home directory or other private files",)),
        (("bwrap", "pyseccomp"), ("start a process or a program", "open a socket", "send a signal")),
        (("pyseccomp",), ("start a process or a program", "open a socket")),
    ],
)
def test_a_sandbox_with_a_hole_says_so(tmp_path, missing, broken):
    status, text = report(without(tmp_path, *missing))
    assert status == 1
    for rule in broken:
        assert f"  {rule}" in text
        assert "NOT PREVENTED" in next(line for line in text.splitlines() if line.startswith(f"  {rule}"))


LOAD = """
    import sys
    from entroshape.tasks import load_task
    for name in ("chain_sum", "countdown"):
        try:
            task = load_task(f"reasoning_gym:{name}", train_size=16, test_size=2)
            right = [__import__("json").loads(row)["answer"] for row in task.test["entry"]]
            answers = [f"<answer>{each}</answer>" for each in right]
            print(name, task.reward([""] * 2, answers, entry=task.test["entry"]))
        except ValueError as error:
            print(error)
"""


@needs_sandbox
@pytest.mark.parametrize("missing", [("bwrap", "py_landlock"), ("bwrap", "pyseccomp", "py_landlock")])
def test_without_the_sandbox_scorers_that_evaluate_are_refused_unless_asked_for_and_others_run(tmp_path, missing):
    environment = without(tmp_path, *missing)
    command = [sys.executable, "-c", textwrap.dedent(LOAD)]
    first, refusal = subprocess.check_output(command, env=environment, text=True).splitlines()
    assert first == "chain_sum [1.0, 1.0]"
    assert refusal.startswith("the scorer of reasoning_gym:countdown evaluates answers as Python, and this machine")
    assert "read the home directory" in refusal
    assert "apt install libseccomp2 bubblewrap" in refusal
    assert "ENTROSHAPE_ALLOW_CODE_EVAL=1" in refusal
    allowed = environment | {"ENTROSHAPE_ALLOW_CODE_EVAL": "1"}
    assert subprocess.check_output(command, env=allowed, text=True).splitlines()[1] == "countdown [1.0, 1.0]"


@needs_sandbox
@pytest.mark.parametrize("command", ["train", "eval", "compare"])
def test_every_command_refuses_before_it_writes_anything(tmp_path, command):
    (shadow := tmp_path / "shadow").mkdir()
    (here := tmp_path / "here").mkdir()
    environment = without(shadow, "bwrap", "py_landlock")
    methods = ["--methods", "gtpo,grpo"] if command == "compare" else []
    run = subprocess.run(
        [sys.executable, "-m", "entroshape", command, "--task", "reasoning_gym:countdown", *methods],
        cwd=here, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, "evaluates answers as Python" in " ".join(run.stderr.split())) == (2, True), run.stderr
    assert "Traceback" not in run.stderr
    assert not list(here.iterdir())


def test_the_variable_that_allows_has_two_values(monkeypatch):
    from entroshape.tasks import load_task

    monkeypatch.setenv("ENTROSHAPE_ALLOW_CODE_EVAL", "yes")
    with pytest.raises(ValueError, match="ENTROSHAPE_ALLOW_CODE_EVAL must be 1 or 0; got 'yes'"):
        load_task("reasoning_gym:countdown", train_size=16, test_size=2)


def test_a_worker_gets_nothing_of_the_environment_that_it_does_not_need(pool, targets):
    names = [name for name in os.environ if name.startswith(("HF_", "SSH_", "AWS_", "WANDB_")) or name == SECRET]
    assert SECRET in names
    jobs = [{"attempt": "environment_variable", "target": name} for name in names]
    assert pool.score(jobs) == [0.0] * len(names)


def test_the_report_is_frozen_and_names_what_prevents_each_rule():
    found = sandbox_report()
    with pytest.raises(AttributeError):
        found.rules = ()
    assert len(str(found).splitlines()) == len(found.rules) + 3
    assert all(rule.by or rule.possible for rule in found.rules)
    assert Path("/proc").is_dir() == (sys.platform == "linux")
