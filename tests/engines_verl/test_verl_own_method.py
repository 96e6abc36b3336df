"""The example of "Your own method" in verl: by name, in the process that computes advantages and in a whole run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from verl import DataProto
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.trainer.ppo.v1 import get_trainer_cls

from entroshape.engines.verl.estimators import register_estimator
from entroshape.engines.verl.handoff import Handoff, handing
from entroshape.engines.verl.trainer import prepare
from entroshape.rollouts import Rollouts

ROOT = Path(__file__).resolve().parents[2]
NAME = "my_method:Uncertain"
TERMS = "{method:gtpo,weight:0.5},{method:dapo,weight:2.0,options:{epsilon_high:0.28}}"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])


def configuration(*overrides):
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=["trainer.v1.trainer_mode=entroshape_sync", *overrides])


@pytest.mark.parametrize(
    ("overrides", "mode"),
    [
        ([f"algorithm.adv_estimator={NAME}", "+algorithm.entroshape.alpha=0.5"], "seq-mean-token-mean"),
        (["algorithm.adv_estimator=sum", f"+algorithm.entroshape.terms=[{TERMS}]"], "token-mean"),
    ],
)
def test_the_advantages_of_verl_are_those_of_the_method(overrides, mode):
    config = configuration(*overrides)
    made = prepare(config)
    assert config.actor_rollout_ref.actor.loss_agg_mode == mode
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(5) < torch.tensor([5, 3, 4, 2])[:, None]
    data = {
        "rewards": torch.tensor([1.0, 0.0, 0.0, 1.0]),
        "entropies": torch.rand(4, 5, generator=generator) + 0.1,
        "logprobs": -torch.rand(4, 5, generator=generator),
    }
    handoff = Handoff(method=made.method, real=torch.ones(4, dtype=torch.bool), seed=3, **data)
    proto = DataProto.from_dict(
        tensors={"token_level_rewards": torch.zeros(4, 5), "response_mask": mask.long()},
        non_tensors={"uid": ["a", "a", "b", "b"]},
    )
    name = config.algorithm.adv_estimator
    with handing(handoff):
        there = compute_advantage(proto, adv_estimator=name, config=AlgoConfig(adv_estimator=name)).batch["advantages"]
    rollouts = Rollouts(mask=mask, group=torch.tensor([0, 0, 1, 1]), **data)
    assert torch.equal(there, made.method.assign(rollouts).per_token(mask).advantages)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.adv_estimator=my_method:Uncertan"], "has no 'Uncertan'; did you mean Uncertain"),
        ([f"algorithm.adv_estimator={NAME}", "+algorithm.entroshape.alhpa=1"], r"alhpa: did you mean alpha\? '.*Unc"),
        ([f"algorithm.adv_estimator={NAME}", "+algorithm.entroshape.alpha=high"], "alpha of .* must be a finite numb"),
        (["algorithm.adv_estimator=sum"], "terms must be"),
        (
            ["algorithm.adv_estimator=sum", "+algorithm.entroshape.terms=[{method:gtpo},{method:grpo_s}]"],
            "GTPO and GRPOS cannot be summed",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_any_worker_starts(overrides, message):
    with pytest.raises(ValueError, match=message):
        prepare(configuration(*overrides))


def test_the_example_in_another_trainer_mode_is_refused_when_the_trainer_is_made():
    config = configuration(f"algorithm.adv_estimator={NAME}", "trainer.v1.trainer_mode=sync")
    with pytest.raises(ValueError, match="adv_estimator=my_method:Uncertain is entroshape's and needs"):
        get_trainer_cls("sync")(config)


def test_a_name_of_verls_own_is_not_taken():
    with pytest.raises(ValueError, match="adv_estimator=rloo is verl's own estimator; write entroshape_rloo"):
        register_estimator("rloo")


def test_an_installed_method_is_registered_in_every_process_and_imported_in_none_that_does_not_use_it(tmp_path):
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[entroshape.methods]\nuncertain = {NAME}\nrloo = {NAME}\n")
    code = (
        "import sys, verl.trainer.ppo.core_algos as core; registry = core.ADV_ESTIMATOR_REGISTRY\n"
        "print([registry[name].__module__.split('.')[0] for name in ('uncertain', 'rloo', 'entroshape_rloo')],"
        " 'my_method' in sys.modules)"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / "examples"), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    assert done.stdout.strip().endswith("['entroshape', 'verl', 'entroshape'] False"), done.stdout + done.stderr


@pytest.mark.slow
def test_a_whole_run_with_two_workers_trains_with_the_example(tmp_path):
    """The module is found through PYTHONPATH, in Ray's processes too."""
    done = subprocess.run(
        [
            str(ROOT / "recipes/verl/tiny-cpu.sh"),
            f"algorithm.adv_estimator={NAME}",
            "+algorithm.entroshape.alpha=0.5",
            "trainer.total_training_steps=1",
            'trainer.logger=["console","file"]',
            "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        ],
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "DATA": str(tmp_path),
            "WORKERS": "2",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "examples"), os.environ["PYTHONPATH"]]),
            "VERL_FILE_LOGGER_PATH": str(tmp_path / "metrics.jsonl"),
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    assert "Uncertain(" in said
    assert "alpha=0.5" in said
    (step,) = [json.loads(line)["data"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert step["entroshape/reward"] == pytest.approx(step["critic/score/mean"])
    assert "gtpo" in ADV_ESTIMATOR_REGISTRY
