"""The example of "Your own method" in TRL, by name."""

import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_trainer

from entroshape import GRPO, Rollouts, build_method

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def beside_the_example(monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])


def expected(rollouts, alpha):
    """Token by token in plain loops."""
    plain = GRPO().advantages(rollouts)
    out = torch.zeros(rollouts.mask.shape)
    for i, t in rollouts.mask.nonzero().tolist():
        out[i, t] = plain[i] * (1 + alpha * rollouts.entropies[i, t])
    return out


@pytest.mark.parametrize("steps_per_batch", [1, 2])
def test_the_example_trains_in_trl_with_its_own_credit(tmp_path, steps_per_batch):
    records = []
    trainer = tiny_trainer(
        tmp_path,
        "my_method:Uncertain",
        records=records,
        method_options={"alpha": 0.5},
        steps_per_generation=steps_per_batch,
    )
    assert trainer.args.to_dict()["method"] == "my_method:Uncertain"
    assert trainer.args.to_dict()["method_options"]["alpha"] == 0.5
    trainer.train()
    record = records[0]
    rollouts = Rollouts(rewards=record.rewards, entropies=record.entropies, mask=record.mask, group=record.group)
    torch.testing.assert_close(record.credit.per_token(record.mask).advantages, expected(rollouts, 0.5))


def test_a_sum_with_the_example_trains_in_trl(tmp_path):
    terms = [{"method": "my_method:Uncertain", "weight": 2.0, "options": {"alpha": 0.5}}, {"method": "grpo"}]
    records = []
    trainer = tiny_trainer(tmp_path, "sum", records=records, method_options={"terms": terms})
    assert build_method("sum", trainer.args.to_dict()["method_options"]) == trainer.method
    trainer.train()
    record = records[0]
    rollouts = Rollouts(rewards=record.rewards, entropies=record.entropies, mask=record.mask, group=record.group)
    total = 2 * expected(rollouts, 0.5) + GRPO().assign(rollouts).per_token(record.mask).advantages
    torch.testing.assert_close(record.credit.per_token(record.mask).advantages, total)
