"""verl with vLLM's rollouts: `main_ppo` learns Countdown for two steps."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from untied import write_untied_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ROLLOUT = "actor_rollout_ref.rollout"
OVER_THE_RECIPE = [
    f"{ROLLOUT}.name=vllm",
    f"{ROLLOUT}.dtype=float32",
    f"{ROLLOUT}.enforce_eager=True",
    f"{ROLLOUT}.max_model_len=64",
    f"{ROLLOUT}.max_num_seqs=16",
    f"{ROLLOUT}.max_num_batched_tokens=256",
    f"+{ROLLOUT}.enable_sleep_mode=False",
    'trainer.logger=["console","file"]',
]


@pytest.mark.skipif(find_spec("verl") is None, reason="verl is not installed: make test-vllm installs it")
def test_main_ppo_trains_on_responses_that_vllm_sampled(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable, "DATA": str(tmp_path)}
    environment["VERL_FILE_LOGGER_PATH"] = str(tmp_path / "metrics.jsonl")
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING")
    data = ["-m", "entroshape.verl_data", "--task=countdown", "--test-size=16", f"--output={tmp_path}"]
    subprocess.run([sys.executable, *data], env=environment, check=True)
    write_untied_model(tmp_path / "model", chat=True)
    done = subprocess.run(
        [str(ROOT / "recipes/verl/tiny-cpu.sh"), *OVER_THE_RECIPE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    steps = [json.loads(line)["data"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 2
    for step in steps:
        assert step["entroshape/entropy"] == pytest.approx(step["actor/entropy"], rel=1e-4)
        # The log-probabilities of vLLM and of the actor, after an update too: the weights have arrived.
        assert step["training/rollout_probs_diff_max"] < 1e-3
    assert any(step["actor/grad_norm"] > 0 for step in steps)
