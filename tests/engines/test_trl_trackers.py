"""Our metrics reach TensorBoard, W&B and trackio through TRL's own ``report_to``."""

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny import tiny_trainer

from entroshape.engines.decisions import PREFIX

pytestmark = pytest.mark.slow

SHAPING = {"success_rate", "entropy", "entropy_success", "entropy_failure", "gated_groups", "shaped_spread"}


def tensorboard_scalars(folder):
    """{name: {step: value}} of everything below a folder, as TensorBoard itself reads it."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("method", ["gtpo", "grpo_s"])
def test_tensorboard_holds_every_metric_of_every_step(tmp_path, monkeypatch, method):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    trainer = tiny_trainer(tmp_path, method, max_steps=3, report_to=["tensorboard"])
    trainer.train()
    scalars = tensorboard_scalars(tmp_path / "events")
    expected = {}
    for row in trainer.state.log_history:
        for name, value in row.items():
            if name.startswith(PREFIX):
                expected.setdefault(f"train/{name}", {})[row["step"]] = value
    assert {f"train/{PREFIX}{name}" for name in SHAPING} <= expected.keys()
    ours = {name: values for name, values in scalars.items() if PREFIX in name}
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        assert values.keys() == {1, 2, 3}
        assert ours[name] == pytest.approx(values, rel=1e-6), name  # event files hold float32
        assert all(map(math.isfinite, ours[name].values()))


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_wandb_and_trackio_hold_every_metric_of_every_step(tmp_path, tracker):
    if find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed; it is no part of the dev extra")
    here = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "TRACKIO_DIR": str(tmp_path / "trackio")}
    command = [sys.executable, str(Path(__file__).with_name("trackers_child.py")), tracker, str(tmp_path)]
    child = subprocess.run(command, env={**os.environ, **here}, capture_output=True, text=True, timeout=240)
    assert child.returncode == 0, child.stderr
    result = json.loads(child.stdout.splitlines()[-1])
    assert len(result["logged"]) == len(result["tracked"]) == 3
    for logged, tracked in zip(result["logged"], result["tracked"], strict=True):
        assert {f"{PREFIX}{name}" for name in SHAPING} <= logged.keys()
        assert tracked == pytest.approx({f"train/{name}": value for name, value in logged.items()})
