"""A method with a state between steps in TRL: carried on, saved with the checkpoint, restored, equal on all ranks."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file
from small_run import SMALL_RUN, untimed
from tiny import tiny_trainer

from entroshape import GRPO, Stateful, Sum, Term
from entroshape.cli import main
from entroshape.engines.trl.memory import KEY, state_before
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

MODULE = '''
from dataclasses import dataclass, replace

from entroshape import DAPO, Stateful


@dataclass(frozen=True, kw_only=True)
class Adaptive(DAPO, Stateful):
    """DAPO's advantages times a level that follows the mean entropy."""

    rate: float = 0.5

    needs = frozenset({"entropies"})
    initial_state = {"level": 1.0}

    def assign_from(self, rollouts, state, generator=None):
        credit = DAPO.assign(self, rollouts, generator)
        level = (1 - self.rate) * state["level"] + self.rate * float(rollouts.entropies[rollouts.mask].mean())
        return replace(credit, advantages=level * credit.advantages), {"level": level}

    assign = Stateful.assign
'''


@dataclass(frozen=True, kw_only=True)
class Counting(GRPO, Stateful):
    """GRPO that counts its steps, from ``begin``."""

    begin: float = 0.0
    wrong: float | None = None

    @property
    def initial_state(self):
        return {"steps": self.begin}

    def assign_from(self, rollouts, state, generator=None):
        credit = GRPO.assign(self, rollouts, generator)
        return credit, {"steps": state["steps"] + 1 if self.wrong is None else self.wrong}

    assign = Stateful.assign


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "adaptive.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    yield
    sys.modules.pop("adaptive", None)


def options(**more):
    return {"method_options": None, **more}


def test_the_state_goes_from_step_to_step_and_is_logged(tmp_path):
    trainer = tiny_trainer(tmp_path, Counting(begin=2.0), max_steps=3, **options())
    trainer.train()
    logged = [row["entroshape/state_steps"] for row in trainer.state.log_history if "loss" in row]
    assert logged == [3.0, 4.0, 5.0]
    assert trainer.method.initial_state == {"steps": 2.0}


def test_a_second_training_begins_anew_and_a_resumed_one_goes_on(tmp_path):
    saving = options(max_steps=4, save_strategy="steps", save_steps=2)
    trainer = tiny_trainer(tmp_path, Counting(), **saving)
    trainer.train()
    saved = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    assert saved["stateful_callbacks"][KEY]["attributes"] == {"steps": 2.0}
    resumed = tiny_trainer(tmp_path, Counting(), **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.state.stateful_callbacks[KEY]["attributes"] == {"steps": 4.0}
    trainer.train()
    assert trainer.state.stateful_callbacks[KEY]["attributes"] == {"steps": 4.0}


def test_a_checkpoint_without_the_state_is_refused(tmp_path):
    saving = options(max_steps=2, save_strategy="steps", save_steps=1)
    tiny_trainer(tmp_path, GRPO(), **saving).train()
    trainer = tiny_trainer(tmp_path, Counting(), **saving)
    with pytest.raises(ValueError, match="the checkpoint has no state of Counting"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


def test_a_damaged_state_is_refused(tmp_path):
    trainer = tiny_trainer(tmp_path, Counting(), **options())
    for stored in ({"attributes": {"other": 1.0}}, {"attributes": {"steps": "many"}}, {}):
        trainer.state.stateful_callbacks[KEY] = stored
        with pytest.raises(ValueError, match="the checkpoint's state of the method"):
            state_before(trainer.method, trainer.state)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_state_that_is_not_a_finite_number_stops_the_step(tmp_path, wrong):
    trainer = tiny_trainer(tmp_path, Counting(wrong=wrong), **options())
    with pytest.raises(ValueError, match="steps in the state that Counting returned must be a finite number"):
        trainer.train()


def test_a_sum_refuses_a_term_with_a_state():
    with pytest.raises(ValueError, match="method of a term must have no state between steps"):
        Sum(terms=(Term(method=Counting()), Term(method=GRPO())))


def test_a_killed_run_goes_on_with_the_state_that_it_had(module, tmp_path):
    own = [*SMALL_RUN, "--steps=4", "--save-every=2", "--method=adaptive:Adaptive", "--threads=1"]
    assert main(["train", *own, f"--output={tmp_path / 'whole'}"]) == 0
    whole, path = RunDirectory.open(tmp_path / "whole"), tmp_path / "killed"
    levels = [row["state_level"] for row in whole.read_metrics()]
    assert len(set(levels)) == 4

    log = (tmp_path / "log").open("w")
    command = [sys.executable, "-m", "entroshape", "train", *own, f"--output={path}"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    metrics, deadline = path / "metrics.jsonl", time.monotonic() + 240
    while not (metrics.is_file() and '"step": 3' in metrics.read_text()):  # past the checkpoint of step 2
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert main(["train", f"--resume={path}"]) == 0
    resumed = RunDirectory.open(path)
    assert untimed(resumed.read_metrics()) == untimed(whole.read_metrics())
    weights, expected = (load_file(run.path / "model/model.safetensors") for run in (resumed, whole))
    assert all(weights[name].equal(expected[name]) for name in expected)


RANKS = """
import sys
from pathlib import Path
sys.path[:0] = [{engines!r}, {folder!r}]
from accelerate import PartialState
from adaptive import Adaptive
from dataclasses import dataclass
from tiny import tiny_trainer

rank = PartialState(cpu=True).process_index

@dataclass(frozen=True, kw_only=True)
class Apart(Adaptive):
    def assign_from(self, rollouts, state, generator=None):
        credit, after = super().assign_from(rollouts, state, generator)
        return credit, {{"level": after["level"] + rank * 1e-3}}

trainer = tiny_trainer({folder!r}, Apart(), max_steps=2, per_device_train_batch_size=8, method_options=None)
trainer.train()
state = trainer.state.stateful_callbacks["entroshape.method_state"]["attributes"]["level"]
(Path({folder!r}) / f"rank{{rank}}").write_text(repr(state))
"""


def test_all_ranks_have_the_state_of_the_first(module, tmp_path):
    """Even where their arithmetic would differ."""
    script = tmp_path / "ranks.py"
    script.write_text(RANKS.format(engines=str(Path(__file__).parent), folder=str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in range(2))
    assert first == second
