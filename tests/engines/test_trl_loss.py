"""The loss is the method's surrogate, whoever computes it and however the batch is cut."""

import pytest
import torch
from tiny import METHODS, logprobs_of, tiny_trainer, unmoved

from entroshape.engines.trl.batch import join_rows

pytestmark = pytest.mark.slow


def clipped(trainer):
    """The micro-batches of a trainer, with old log-probabilities so far from the policy that the clip is active."""
    torch.manual_seed(1)
    batches = [dict(batch) for batch in trainer.micro_batches]
    for batch in batches:
        logprobs = logprobs_of(trainer.model, batch).detach()
        batch["old_per_token_logps"] = logprobs + 0.8 * torch.randn_like(logprobs)
    return batches


def gradients(trainer, loss):
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def surrogate(trainer, batch):
    mask = batch["completion_mask"] * batch.get("tool_mask", 1)
    logprobs = logprobs_of(trainer.model, batch)
    return trainer.method.surrogate(logprobs, batch["old_per_token_logps"], batch["advantages"], mask)


@pytest.mark.parametrize("method", METHODS)
def test_the_engines_loss_and_gradient_are_the_methods_surrogate(tmp_path, method):
    trainer, _ = unmoved(tmp_path, method)
    (batch,) = clipped(trainer)
    loss = trainer.compute_loss(trainer.model, batch)
    expected, diagnostics = surrogate(trainer, batch)
    assert diagnostics["clip_low"] + diagnostics["clip_high"] > 0
    torch.testing.assert_close(loss, expected)
    found = gradients(trainer, loss)
    assert found.abs().max() > 0
    torch.testing.assert_close(found, gradients(trainer, surrogate(trainer, batch)[0]), atol=1e-6, rtol=1e-4)
    trainer.log({})
    logged = trainer.state.log_history[-1]
    # Shares of tokens where a token has a ratio, of responses where a response has one.
    for side in ("low", "high"):
        if trainer.method.surrogate.ratio != "token" or trainer.method.surrogate.aggregation == "token_mean":
            expected_share = pytest.approx(diagnostics[f"clip_{side}"].item(), abs=1e-6)
            assert logged[f"clip_ratio/{side}_mean"] == expected_share
    assert {"clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"} <= set(logged)


def test_forking_restricts_the_loss_and_its_token_count(tmp_path):
    trainer, (record,) = unmoved(tmp_path, "dapo_forking")
    (batch,) = trainer.micro_batches
    kept = batch["tool_mask"] * batch["completion_mask"]
    total = int(batch["completion_mask"].sum())
    # First tokens of a group have the same entropy, so more than a fifth may reach the bound.
    bound = record.entropies[record.mask].topk(-(-total // 5)).values.min()
    reached = int((record.entropies[record.mask] >= bound).sum())
    assert int(kept.sum()) == int(batch["num_items_in_batch"]) == reached
    assert total / 5 <= reached < total / 4
    kept = record.credit.loss_mask
    assert record.entropies[kept].min() >= record.entropies[record.mask & ~kept].max()


@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_accumulation_changes_no_update(tmp_path, method, iterations):
    """The same 16 responses as one micro-batch, two of 8, or four of 4: the same weights after the same updates."""
    weights = []
    for pieces in (1, 2, 4):
        trainer = tiny_trainer(
            tmp_path,
            method,
            per_device_train_batch_size=16 // pieces,
            gradient_accumulation_steps=pieces,
            steps_per_generation=pieces,
            num_iterations=iterations,
            max_steps=iterations,
            optim="sgd",
            learning_rate=0.5,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
        )
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.train()
        weights.append(torch.cat([(p - b).flatten() for p, b in zip(trainer.model.parameters(), before, strict=True)]))
    assert weights[0].abs().max() > 1e-4
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], atol=2e-6, rtol=1e-3)


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "grpo_s geometric", "dapo_forking"])
def test_accumulation_changes_no_update_where_a_generation_serves_several(tmp_path, method):
    """Two updates from one generation of 16: their 8 responses at once, as two of 4, as four of 2."""
    weights = []
    for pieces in (1, 2, 4):
        trainer = tiny_trainer(
            tmp_path,
            method,
            per_device_train_batch_size=8 // pieces,
            gradient_accumulation_steps=pieces,
            steps_per_generation=2 * pieces,
            max_steps=2,
            optim="sgd",
            learning_rate=0.05,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
        )
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], atol=2e-6, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_iteration_is_clipped_against_the_policy_that_sampled(tmp_path, method):
    trainer = tiny_trainer(
        tmp_path, method, num_iterations=2, max_steps=2, optim="sgd", learning_rate=3.0, lr_scheduler_type="constant"
    )
    trainer.train()
    clipped = [row["clip_ratio/region_mean"] for row in trainer.state.log_history if "loss" in row]
    assert clipped[0] == 0
    assert clipped[1] > 0


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "dapo_forking"])
def test_four_updates_of_one_generation_share_its_token_count(tmp_path, method):
    """steps_per_generation 4: each update sees a quarter of the responses, normalised by a quarter of the tokens."""
    trainer, _ = unmoved(tmp_path, method, per_device_train_batch_size=4, steps_per_generation=4, max_steps=4)
    pieces = clipped(trainer)
    assert len(pieces) == 4
    losses = [trainer.compute_loss(trainer.model, piece) for piece in pieces]
    rows = [{n: v for n, v in piece.items() if isinstance(v, torch.Tensor) and v.ndim} for piece in pieces]
    whole, _ = surrogate(trainer, join_rows(rows, pad_token_id=0))
    torch.testing.assert_close(torch.stack(losses).mean(), whole, atol=1e-6, rtol=1e-4)


def test_no_gradient_flows_into_the_credit(tmp_path):
    trainer, _ = unmoved(tmp_path)
    assert not trainer.micro_batches[0]["advantages"].requires_grad
