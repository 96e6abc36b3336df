"""Hostile answers through every scorer: no file, process, socket or signal comes of them; later verdicts stay."""

import contextlib
import json
import os
import signal
import socket

import hostile
import psutil
import pytest
import reasoning_gym
from figures import FULL, amount, record

from entroshape.tasks import load_task
from entroshape.tasks.code_evaluation import EVALUATING
from entroshape.tasks.enforcement import sandbox_report
from entroshape.tasks.math_verifier import MathReward
from entroshape.tasks.reasoning_gym import ReasoningGymReward
from entroshape.tasks.score_worker import encode
from entroshape.tasks.workers import ScoringPool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sandbox_report().complete, reason="hostile answers are run in the sandbox alone"),
]

ANSWERS = amount(24, 2000)
SCORERS = sorted(EVALUATING - {"composite"})  # a composite is made of other data sets, in Python alone
OTHERS = ["chain_sum", "sudoku", "codeio"] + (
    ["bf", "rubiks_cube", "zebra_puzzles", "complex_arithmetic"] if FULL else []
)
SECRET = "ENTROSHAPE_TORTURE_SECRET"
ENDLESS = amount(0, 5)


class Canaries:
    """What would show that an answer did harm."""

    def __init__(self, folder):
        self.folder = folder / "open"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.private = folder / "private"
        self.private.write_text("secret")
        self.private.chmod(0o666)
        self.before = self.private.stat()
        self.signals = []
        self.handlers = {
            number: signal.signal(number, lambda number, frame: self.signals.append(number))
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT, signal.SIGALRM)
        }
        self.servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self.servers[1].bind(f"\0entroshape-{os.getpid()}")
        self.servers[1].listen()
        for server in self.servers:
            server.setblocking(False)
        os.environ[SECRET] = "1"

    def targets(self):
        return {
            "folder": self.folder, "private": self.private, "home": os.path.expanduser("~"), "secret": SECRET,
            "pid": os.getpid(), "group": os.getpgrp(), "port": self.servers[0].getsockname()[1],
        }  # fmt: skip

    def check(self):
        assert list(self.folder.iterdir()) == []
        after = self.private.stat()
        assert self.private.read_text() == "secret"
        assert (after.st_mtime_ns, after.st_mode, after.st_nlink) == (
            self.before.st_mtime_ns, self.before.st_mode, self.before.st_nlink,
        )  # fmt: skip
        for place in ("/tmp", "/dev/shm", os.path.expanduser("~")):
            assert not os.path.exists(f"{place}/entroshape-77721")
        assert self.signals == []
        for server in self.servers:
            with pytest.raises(BlockingIOError):
                server.accept()
        assert not [each for each in psutil.process_iter(["cmdline"]) if "77721" in (each.info["cmdline"] or [])]
        # The probe and the pools have supervisors; what judges is below them. Nothing else is below this test.
        expected = ("score_worker.py", "bwrap")
        strangers = []
        for each in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if not any(word in part for part in each.cmdline() for word in expected) and each.status() != "zombie":
                    strangers.append(each)
        assert not strangers

    def close(self):
        del os.environ[SECRET]
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        for server in self.servers:
            server.close()


@pytest.fixture
def canaries(tmp_path):
    canaries = Canaries(tmp_path)
    yield canaries
    canaries.close()


@pytest.fixture(scope="module")
def pool():
    pool = ScoringPool("reasoning_gym", workers=2, time_limit=3.0)
    yield pool
    pool.close()


def scorer_of(name, pool):
    """The data set's reward on a pool that all of them share, and some of its entries."""
    reward = ReasoningGymReward(name, {}, workers=1)
    reward._pool = pool
    entries = list(reasoning_gym.create_dataset(name, seed=3, size=4))
    return reward, [json.dumps(encode(entry)) for entry in entries], [str(entry["answer"]) for entry in entries]


def scores(reward, answers, entries):
    repeated = [entries[place % len(entries)] for place in range(len(answers))]
    return reward([""] * len(answers), [f"<answer>{answer}</answer>" for answer in answers], entry=repeated)


@pytest.mark.parametrize("name", [*SCORERS, *OTHERS])
def test_hostile_answers_do_no_harm_in_a_scorer_of_reasoning_gym(name, pool, canaries):
    reward, entries, right = scorer_of(name, pool)
    honest = [*right, "1", "wrong"]
    before = scores(reward, honest, entries)
    assert max(before) > 0.9
    control = scores(reward, [hostile.disguised(hostile.FORGE, hostile.random.Random(n)) for n in range(3)], entries)
    assert (hostile.FORGED in control) == (name in EVALUATING), "the code runs where it is evaluated, and is noticed"
    answers = hostile.hostile_answers(ANSWERS, seed=name, endless=ENDLESS, **canaries.targets())
    found = scores(reward, answers, entries)
    harmful = [answer for answer, score in zip(answers, found, strict=True) if score == hostile.FORGED]
    assert not harmful
    canaries.check()
    assert scores(reward, honest, entries) == before
    record(f"hostile_answers_{name}", tried=len(answers), harmful=len(harmful), evaluates=name in EVALUATING)


def test_hostile_answers_do_no_harm_in_math_verify(canaries):
    reward = MathReward(workers=2, time_limit=3.0)
    honest = ["\\boxed{4}", "4", "\\boxed{5}", "$\\frac{8}{2}$"]
    answers = hostile.hostile_answers(ANSWERS, seed="math", endless=0, **canaries.targets())
    forms = (
        "\\boxed{%s}",
        "$%s$",
        "The answer is %s",
        "%s",
        "\\[ %s \\]",
        "\\boxed{\\text{%s}}",
        "1 + %s",
        "\\boxed{4} or %s",
    )
    texts = [forms[place % len(forms)].replace("%s", answer) for place, answer in enumerate(answers)]
    try:
        before = reward([""] * 4, honest, answer=["4"] * 4)
        assert before == [1.0, 1.0, 0.0, 1.0]
        found = reward([""] * len(texts), texts, answer=["4"] * len(texts))
        assert set(found) <= {0.0, 1.0}
        canaries.check()
        assert reward([""] * 4, honest, answer=["4"] * 4) == before
    finally:
        reward.close()
    record("hostile_answers_math_verify", tried=len(texts), harmful=0, evaluates=False)


def test_hostile_answers_do_no_harm_in_the_bundled_countdown(canaries):
    task = load_task("countdown", train_size=4, test_size=2)
    answers = hostile.hostile_answers(ANSWERS, seed="countdown", endless=ENDLESS, **canaries.targets())
    row = task.test[0]
    columns = {name: [value] * len(answers) for name, value in row.items() if name not in ("id", "prompt")}
    assert task.reward([row["prompt"]] * len(answers), answers, **columns) == [0.0] * len(answers)
    canaries.check()
    record("hostile_answers_bundled_countdown", tried=len(answers), harmful=0, evaluates=False)
