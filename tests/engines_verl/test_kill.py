"""verl's trainer is killed with all of its Ray processes, as when a node fails, and the same command is given again.

What verl promises: it continues after the last whole checkpoint, which holds weights, optimizer, learning rate
schedule, the workers' random states and the position in the data. A checkpoint that was being written is ignored.

What verl does not promise: that two runs of one command are equal. Requests reach the sampler, and responses the batch,
in an order that differs between runs, and no checkpoint holds the sampler's random state. Two uninterrupted runs of
the tiny recipe differ from the first step on. These tests remove both causes: the rollout on a CPU draws from the step,
the prompt and the number of the request, and ``in_order.py`` sorts the batch. The rest must then be equal bit for bit.

verl's file logger overwrites its file when it starts, so each attempt gets its own.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "torture"))

from figures import record  # noqa: E402

pytestmark = pytest.mark.slow

STEPS = 3
OPTIONS = [
    f"trainer.total_training_steps={STEPS}",
    "trainer.save_freq=1",
    "trainer.resume_mode=auto",
    'trainer.logger=["console","file"]',
    f"trainer.v1.sampler.custom_sampler.path={Path(__file__).with_name('in_order.py')}",
    "trainer.v1.sampler.custom_sampler.name=InOrder",
    # Its credit draws, and depends on a state: a seed or a state that does not follow the step would show.
    "algorithm.adv_estimator=stepping:Stepping",
    "+algorithm.entroshape.alpha2=0.2",
]
MEASURED = ("timing", "perf/")
"""Parts of the names of figures about time and memory."""
SECONDS = 900


def members(session):
    """Process ids of the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def kill_all(session):
    """Kills a session, with what it starts meanwhile."""
    while alive := members(session):
        for process in alive:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


@contextmanager
def command(folder, attempt):
    """The tiny recipe in a session of its own, of which nothing is left afterwards."""
    folder.mkdir(exist_ok=True)
    log = folder / f"{attempt}.log"
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "DATA": str(folder.parent / "data"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]),
        "VERL_FILE_LOGGER_PATH": str(folder / f"{attempt}.jsonl"),
    }
    places = [
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        f"trainer.rollout_data_dir={folder / attempt}",
        f"hydra.run.dir={folder / 'outputs'}",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(ROOT / "recipes/verl/tiny-cpu.sh"), *OPTIONS, *places],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill_all(process.pid)
            process.wait()
    assert not members(process.pid)


def finished(folder, attempt):
    """Runs the command to its end; the figures that it logged by step."""
    with command(folder, attempt) as process:
        assert process.wait(timeout=SECONDS) == 0, (folder / f"{attempt}.log").read_text()[-5000:]
    lines = map(json.loads, (folder / f"{attempt}.jsonl").read_text().splitlines())
    return {line["step"]: line["data"] for line in lines}


def killed_in_second_checkpoint(folder):
    """Starts the command and kills it, and all of Ray, as soon as its second checkpoint is begun."""
    with command(folder, "killed") as process:
        deadline = time.monotonic() + SECONDS
        while not (folder / "checkpoints" / "global_step_2").exists():
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, (folder / "killed.log").read_text()[-5000:]
            time.sleep(0.002)
        kill_all(process.pid)
        assert process.wait() == -signal.SIGKILL


def last_whole_checkpoint(folder):
    return int((folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text())


def state(folder, kind, step=STEPS):
    """A file of a checkpoint, its distributed tensors as lists."""
    path = folder / "checkpoints" / f"global_step_{step}" / "actor" / f"{kind}_world_size_1_rank_0.pt"
    return plain(torch.load(path, weights_only=False))


def plain(value):
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, torch.Tensor):
        return getattr(value, "to_local", lambda: value)().tolist()
    return value


def rollouts(folder, attempt, step):
    """Prompts, responses and scores of a step."""
    lines = map(json.loads, (folder / attempt / f"{step}.jsonl").read_text().splitlines())
    return sorted((line["input"], line["output"], line["score"]) for line in lines)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The uninterrupted run and the resumed one: folder and logged figures; and the step that was last saved whole."""
    top = tmp_path_factory.mktemp("kill")
    whole = top / "whole", finished(top / "whole", "uninterrupted")
    killed_in_second_checkpoint(top / "killed")
    saved = last_whole_checkpoint(top / "killed")
    assert 1 <= saved < STEPS, "killed too late to have anything left to do"
    return whole, (top / "killed", finished(top / "killed", "resumed")), saved


def test_a_killed_run_continues_after_its_last_whole_checkpoint(runs):
    (_, uninterrupted), (folder, resumed), saved = runs
    assert list(uninterrupted) == list(range(1, STEPS + 1))
    assert list(resumed) == list(range(saved + 1, STEPS + 1))
    assert [resumed[step]["training/global_step"] for step in resumed] == list(resumed)
    assert last_whole_checkpoint(folder) == STEPS


def test_the_state_of_the_method_is_that_of_the_uninterrupted_run(runs):
    (_, uninterrupted), (_, resumed), _ = runs
    for figures in (uninterrupted, resumed):
        assert {step: each["entroshape/state_steps"] for step, each in figures.items()} == {
            step: step for step in figures
        }


def test_steps_made_again_get_credit_from_entroshape(runs):
    (_, uninterrupted), (_, resumed), _ = runs
    for step, figures in resumed.items():
        ours = {name: value for name, value in figures.items() if name.startswith("entroshape/")}
        assert ours
        assert ours.keys() == {name for name in uninterrupted[step] if name.startswith("entroshape/")}
        assert all(math.isfinite(value) for value in ours.values())
        assert ours["entroshape/reward"] == pytest.approx(figures["critic/score/mean"])
    assert any(
        figures["entroshape/shaped_spread"] > 0 and figures["actor/grad_norm"] > 0 for figures in resumed.values()
    )


def test_steps_made_again_have_the_bits_of_the_uninterrupted_run(runs):
    (whole, uninterrupted), (killed, resumed), _ = runs
    for step, figures in resumed.items():
        assert rollouts(killed, "resumed", step) == rollouts(whole, "uninterrupted", step), step
        for name in figures.keys() | uninterrupted[step].keys():
            if not any(part in name for part in MEASURED):
                assert figures.get(name) == uninterrupted[step].get(name), (step, name)
    assert state(killed, "model") == state(whole, "model")
    assert state(killed, "optim") == state(whole, "optim")
    record("kills_verl", tried=1, equal=1, SIGKILL=1)
