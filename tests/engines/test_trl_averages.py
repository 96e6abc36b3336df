"""What is logged of a loss does not depend on how its update was cut into micro-batches."""

import pytest
import torch
from tiny import Watched, tiny_model, tiny_trainer

from entroshape.engines.trl.speed import TokenMeans

pytestmark = pytest.mark.slow

LOGGED = ("entropy", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")


def logs(tmp_path, method, micro_batches, **options):
    """The logs of three updates of the same 16 rows."""
    trainer = tiny_trainer(
        tmp_path,
        method,
        per_device_train_batch_size=16 // micro_batches,
        gradient_accumulation_steps=micro_batches,
        num_iterations=3,
        max_steps=3,
        max_completion_length=40,
        learning_rate=0.1,
        optim="sgd",
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        **options,
    )
    trainer.train()
    return [log for log in trainer.state.log_history if "entropy" in log]


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "dapo_forking"])
def test_figures_of_an_update_are_over_its_tokens_whatever_its_micro_batches(tmp_path, method):
    whole, cut = logs(tmp_path, method, 1), logs(tmp_path, method, 8)
    assert len(whole) == len(cut) == 3
    assert whole[-1]["clip_ratio/region_mean"] > 0
    for name in LOGGED:
        assert [log[name] for log in cut] == pytest.approx([log[name] for log in whole], abs=2e-3), name


def test_the_divergence_from_a_reference_is_over_tokens_too(tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    whole, cut = (logs(tmp_path, "gtpo", micro_batches, model=model, beta=0.1) for micro_batches in (1, 8))
    assert whole[-1]["kl"] > 0
    assert [log["kl"] for log in cut] == pytest.approx([log["kl"] for log in whole], rel=1e-2, abs=1e-5)


def test_means_weigh_tokens_and_wait_for_the_whole_update():
    means, metrics = TokenMeans(["entropy"]), {"entropy": [1.0], "other": [5.0]}
    means.take(metrics, 30.0, last=False)
    assert metrics == {"entropy": [], "other": [5.0]}
    metrics["entropy"].append(2.0)
    means.take(metrics, 10.0, last=True)
    assert metrics == {"entropy": [1.25], "other": [5.0]}


def test_an_entropy_bonus_leaves_micro_batches_as_they_were_sampled(tmp_path):
    """TRL's bonus is a mean within each micro-batch: who shares one is part of the objective."""
    widths = []
    for coefficient in (0.0, 0.1):
        trainer = tiny_trainer(
            tmp_path,
            cls=Watched,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            steps_per_generation=4,
            max_completion_length=40,
            entropy_coef=coefficient,
            max_steps=2,
        )
        trainer.train()
        widths.append({tuple(batch["completion_ids"].shape) for batch in trainer.micro_batches})
    assert len(widths[0]) > 1
    assert len(widths[1]) == 1


def test_widths_stay_multiples_of_what_trl_pads_to(tmp_path):
    trainer = tiny_trainer(
        tmp_path,
        cls=Watched,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        pad_to_multiple_of=8,
        max_completion_length=40,
    )
    trainer.train()
    shapes = [batch[name].shape[1] for batch in trainer.micro_batches for name in ("prompt_ids", "completion_ids")]
    assert all(width % 8 == 0 for width in shapes)
    assert len(set(shapes)) > 1
    assert torch.cat([batch["completion_mask"].sum(dim=1) for batch in trainer.micro_batches]).max() > 8
