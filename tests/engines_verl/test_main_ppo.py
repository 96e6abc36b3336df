"""The whole of verl: `python -m verl.trainer.main_ppo` with two workers learns Countdown for a few steps."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The tiny recipe, two workers, with its metrics in a file."""
    folder = tmp_path_factory.mktemp("run")
    done = subprocess.run(
        [
            str(ROOT / "recipes/verl/tiny-cpu.sh"),
            f"trainer.total_training_steps={STEPS}",
            'trainer.logger=["console","file"]',
            "+algorithm.entroshape.alpha2=0.2",
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        ],
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "DATA": str(folder),
            "WORKERS": "2",
            "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return done, [line["data"] for line in lines]


def test_every_step_logs_reward_and_entropy_and_trains(run):
    _, steps = run
    assert len(steps) == STEPS
    for step in steps:
        assert all(math.isfinite(value) for value in step.values() if isinstance(value, float))
        assert step["entroshape/reward"] == pytest.approx(step["critic/score/mean"])
        # verl's figure is taken over the same tokens, before its ranks are put together
        assert step["entroshape/entropy"] == pytest.approx(step["actor/entropy"], rel=1e-4)
        assert 0.2 < step["entroshape/entropy"] < 0.5
    assert any(step["actor/grad_norm"] > 0 for step in steps)


def test_the_log_says_what_the_method_is_and_what_it_sets(run):
    done, _ = run
    said = done.stdout + done.stderr
    assert "alpha2=0.2" in said
    assert "it sets actor_rollout_ref.actor.policy_loss.loss_mode=entroshape_token" in said


def test_a_misspelt_option_ends_the_run_at_its_start_with_the_valid_names(tmp_path):
    done = subprocess.run(
        [str(ROOT / "recipes/verl/tiny-cpu.sh"), "+algorithm.entroshape.alpha_2=0.2"],
        env={**os.environ, "PYTHON": sys.executable, "DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode != 0
    assert "unknown option algorithm.entroshape.alpha_2: did you mean alpha2? 'gtpo' has" in done.stdout + done.stderr
