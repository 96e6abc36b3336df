"""Killed at any moment and resumed, a command leaves what it would have left uninterrupted, bit for bit."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import small_run
from figures import FULL, amount, record
from forks import Commands
from pyarrow.parquet import read_table
from small_run import SMALL_RUN

from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

TINY = [*SMALL_RUN, "--steps=3", "--save-every=1", "--eval-every=2", "--rollouts-every=1"]
EVAL = ["--problems=8", "--samples=2", "--batch-size=4", "--device=cpu"]
SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM")
STATUS = {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}

OF_TRAINING = [
    ("config", "before", 1), ("config", "middle", 1), ("config", "after", 1), ("evaluation", "before", 1),
    ("evaluation", "after", 1), ("evaluation file", "middle", 1), ("evaluation file", "after", 1),
    ("sampling", "before", 1), ("sampling", "after", 4), ("scoring", "after", 2), ("refill", "before", 2),
    ("refill", "after", 2), ("update", "before", 1), ("update", "after", 4), ("rollouts", "middle", 2),
    ("rollouts", "after", 3), ("metrics", "before", 2), ("metrics", "middle", 2), ("metrics", "after", 3),
    ("evaluation file", "before", 2), ("evaluation file", "after", 2), ("checkpoint", "before", 2),
    ("optimizer file", "before", 2), ("optimizer file", "after", 3), ("mark", "before", 2), ("mark", "middle", 3),
    ("mark", "after", 3), ("checkpoint", "after", 3), ("evaluation", "before", 3), ("evaluation", "after", 3),
    ("evaluation file", "before", 3), ("evaluation file", "middle", 3), ("evaluation file", "after", 3),
    ("model", "before", 1), ("model in place", "before", 1), ("model in place", "middle", 1),
    ("model", "after", 1), ("report", "before", 1), ("report", "middle", 1), ("report", "after", 1),
]  # fmt: skip
OF_WEIGHTS = [
    ("mean", "before", 1), ("mean", "middle", 2), ("mean", "after", 2), ("anchor", "before", 2),
    ("anchor", "middle", 3), ("update", "after", 5), ("mark", "before", 2), ("model", "before", 1),
    ("model", "before", 2), ("model in place", "before", 2), ("model", "after", 2), ("report", "before", 1),
]  # fmt: skip
OF_EVALUATION = [
    ("journal", "before", 1), ("journal", "middle", 2), ("journal", "after", 3), ("journal", "after", 4),
    ("result", "before", 1), ("result", "middle", 1), ("result", "after", 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    commands = Commands(tmp_path_factory.mktemp("log") / "log")
    yield commands
    commands.close()


def outcome(path):
    """All that a run leaves, with the names of its files, without its timings."""
    left = sorted(file.name for file in path.iterdir() if file.name != ".lock")
    return {**small_run.outcome(RunDirectory.open(path)), "left": left}


def resumed(command, path):
    """Continues a run; one that was stopped before it had a config.yaml is begun again."""
    begun = (path / "config.yaml").is_file()
    return command("train", *([f"--resume={path}"] if begun else [*TINY, f"--output={path}"]))


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """An uninterrupted run, and the seconds that it took."""
    path = tmp_path_factory.mktemp("whole") / "run"
    started = time.monotonic()
    assert command("train", *TINY, f"--output={path}") == 0, command.log.read_text()
    return outcome(path), time.monotonic() - started


def test_a_run_killed_at_a_named_moment_resumes_to_the_same_bits(command, whole, tmp_path):
    assert whole[0]["metrics"][0]["refills"], "the first step makes no refill: that moment is not tried"
    small = [("metrics", "middle", 2), ("evaluation", "after", 3), ("model in place", "before", 1)]
    tried = Counter()
    signals = itertools.cycle(SIGNALS)
    for number, (moment, when, call) in enumerate(amount(small, OF_TRAINING)):
        path, sig = tmp_path / f"run-{number}", next(signals)
        plan = {"moment": moment, "when": when, "call": call, "sig": sig}
        if when == "middle":  # a wrapped rename that returns would not be one
            plan["sig"] = sig = "SIGKILL"
        status = command("train", *TINY, f"--output={path}", moment=plan)
        assert status == STATUS[sig], (plan, status, command.log.read_text()[-3000:])
        assert resumed(command, path) == 0, (plan, command.log.read_text()[-3000:])
        assert outcome(path) == whole[0], plan
        tried[sig] += 1
        shutil.rmtree(path)
    record("kills_named", tried=sum(tried.values()), equal=sum(tried.values()), **tried)


@pytest.mark.skipif(not FULL, reason="make torture")
def test_a_run_with_a_mean_and_an_anchor_resumes_to_the_same_bits(command, tmp_path):
    options = [*TINY, "--ema-decay=0.8", "--anchor=0.05"]
    path = tmp_path / "whole"
    assert command("train", *options, f"--output={path}") == 0, command.log.read_text()
    whole, signals = outcome(path), itertools.cycle(SIGNALS)
    assert "model-ema" in whole["weights"]
    for number, (moment, when, call) in enumerate(OF_WEIGHTS):
        path, sig = tmp_path / f"run-{number}", "SIGKILL" if when == "middle" else next(signals)
        plan = {"moment": moment, "when": when, "call": call, "sig": sig}
        status = command("train", *options, f"--output={path}", moment=plan)
        assert status == STATUS[sig], (plan, status, command.log.read_text()[-3000:])
        assert command("train", f"--resume={path}") == 0, (plan, command.log.read_text()[-3000:])
        assert outcome(path) == whole, plan
        shutil.rmtree(path)
    record("kills_weights", tried=len(OF_WEIGHTS), equal=len(OF_WEIGHTS))


@pytest.mark.skipif(not FULL, reason="make torture")
def test_a_run_killed_at_random_moments_resumes_to_the_same_bits(command, whole, tmp_path):
    draw, tried, again = random.Random(11), Counter(), 0
    for number in range(40):
        path, sig = tmp_path / f"run-{number}", SIGNALS[number % 3]
        after = draw.uniform(0.05, 0.95) * whole[1]
        status = command("train", *TINY, f"--output={path}", after=after, sig=sig)
        assert status in (0, STATUS[sig], -signal.Signals[sig]), (
            number,
            sig,
            status,
        )  # before its handler: the signal's
        if number % 4 == 0 and (path / "config.yaml").is_file():  # and once more while it resumes
            command("train", f"--resume={path}", after=draw.uniform(0.05, 0.6) * whole[1], sig=sig)
            again += 1
        assert resumed(command, path) == 0, (number, command.log.read_text()[-3000:])
        assert outcome(path) == whole[0], (number, sig, after)
        tried[sig] += 1
        shutil.rmtree(path)
    record("kills_random", tried=40, killed_again=again, equal=40, **tried)


@pytest.mark.skipif(not FULL, reason="make torture")
@pytest.mark.parametrize("rank", [0, 1])
def test_one_rank_of_two_that_is_killed_costs_nothing_but_time(command, tmp_path, rank):
    path = tmp_path / "whole"
    assert command("train", *TINY, f"--output={path}", ranks=2) == [0, 0], command.log.read_text()[-3000:]
    moments = [("update", "after", 3), ("checkpoint", "before", 2), ("sampling", "before", 5)]
    for number, (moment, when, call) in enumerate(moments):
        cut = tmp_path / f"cut-{number}"
        plan = {"moment": moment, "when": when, "call": call, "rank": rank}
        assert command("train", *TINY, f"--output={cut}", ranks=2, moment=plan)[rank] == -9, plan
        assert command("train", f"--resume={cut}", ranks=2) == [0, 0], (plan, command.log.read_text()[-3000:])
        assert outcome(cut) == outcome(path), plan
    record(f"kills_rank_{rank}", tried=len(moments), equal=len(moments))


def test_an_evaluation_killed_anywhere_gives_the_answers_that_it_would_have_given(command, tmp_path):
    path = tmp_path / "whole.parquet"
    assert command("eval", *EVAL, f"--output={path}") == 0, command.log.read_text()[-3000:]
    expected = read_table(path)
    cases = amount(OF_EVALUATION[1:2], OF_EVALUATION)
    for number, (moment, when, call) in enumerate(cases):
        cut = tmp_path / f"cut-{number}.parquet"
        plan = {"moment": moment, "when": when, "call": call}
        assert command("eval", *EVAL, f"--output={cut}", moment=plan) == -9, plan
        assert command("eval", *EVAL, f"--output={cut}") == 0, (plan, command.log.read_text()[-3000:])
        assert read_table(cut).equals(expected), plan
    assert not list(tmp_path.glob("*.partial"))
    record("kills_eval", tried=len(cases), equal=len(cases))


def figures(path):
    """A comparison's records without their timings and versions."""
    records = json.loads((path / "comparison.json").read_text())["records"]
    return sorted(
        ({name: value for name, value in row.items() if name not in ("seconds", "environment")} for row in records),
        key=lambda row: (row["arm"], row["seed"]),
    )


@pytest.mark.skipif(not FULL, reason="make torture")
def test_a_comparison_killed_anywhere_records_the_same_figures(command, tmp_path):
    dying = Path(__file__).with_name("dying.py")
    options = ["--methods=dapo,gtpo", "--seeds=1", "--parallel=1", *TINY]

    def compare(path, run=None, **how):
        launcher = f"{sys.executable} {dying} {json.dumps(json.dumps(run or {}))}"
        return command("compare", *options, f"--output={path}", f"--launcher={launcher}", **how)

    whole, path = tmp_path / "whole", tmp_path / "cut"
    assert compare(whole) == 0, command.log.read_text()[-3000:]
    kills = [
        {"run": {"moment": "evaluation", "when": "after", "call": 3}},
        {"run": {"moment": "model in place", "when": "before"}},
        {"run": {"moment": "report", "when": "middle"}},
        # A run that is going on when its comparison is killed finishes by itself, and the next call waits for it.
        {"moment": {"moment": "record", "when": "before", "call": 2}},
        {"moment": {"moment": "record", "when": "after", "call": 1}},
        {"moment": {"moment": "record", "when": "middle", "call": 2}},
    ]
    for plan in kills:
        assert compare(path, **plan) in (1, -9), (plan, command.log.read_text()[-3000:])
    assert compare(path) == 0, command.log.read_text()[-3000:]
    assert figures(path) == figures(whole)
    record("kills_compare", tried=len(kills), equal=len(kills))


@pytest.mark.skipif(not FULL, reason="make torture")
def test_a_scoring_process_that_is_killed_costs_no_answer_its_point(tmp_path):
    (tmp_path / "pooled.py").write_text(POOLED)
    outcomes = {}
    for kill in ("", "kill"):
        done = subprocess.run(
            [sys.executable, "-m", "entroshape", "train", *TINY, "--eval-every=0", "--reward=pooled:judged",
             f"--output={tmp_path / f'run-{kill}'}"],
            cwd=tmp_path, env={**os.environ, "KILL": kill}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        outcomes[kill] = outcome(tmp_path / f"run-{kill}")
    assert outcomes[""] == outcomes["kill"]
    record("kills_scoring", tried=int((tmp_path / "killed").read_text()), equal=True)


POOLED = """
import os, signal
from pathlib import Path
from entroshape.tasks.workers import ScoringPool

pool = ScoringPool("math", workers=2)
killed = 0

def judged(prompts, completions, **columns):
    '''Right if the answer's length is even, as math-verify in a scoring process sees it.'''
    global killed
    if os.environ["KILL"]:
        for worker in pool._workers:
            if worker.process is not None:
                os.kill(worker.process.pid, signal.SIGKILL)
                killed += 1
        Path("killed").write_text(str(killed))
    jobs = [{"gold": "0", "text": "\\\\boxed{" + str(len(text) % 2) + "}"} for text in completions]
    return pool.score(jobs)
"""
