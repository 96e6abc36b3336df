"""The loss is the method's surrogate, whoever computes it and however the batch is cut."""

import pytest
import torch
from tiny import METHODS, rows, tiny_trainer


def scored(trainer):
    """One batch with credit, and old log-probabilities moved away from the policy so that the clip is active."""
    output = trainer._generate_and_score_completions(rows(trainer))
    logprobs = trainer._score(output)[0]
    torch.manual_seed(1)
    output["old_per_token_logps"] = logprobs + 0.8 * torch.randn_like(logprobs)
    trainer.current_gradient_accumulation_steps = 1
    return output


def gradients(trainer, loss):
    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def surrogate(trainer, output):
    mask = output["completion_mask"] * output.get("tool_mask", 1)
    logprobs, _, _ = trainer._get_per_token_logps_and_entropies(
        trainer.model,
        torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
        torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
        output["completion_ids"].size(1),
    )
    return trainer.method.surrogate(logprobs, output["old_per_token_logps"], output["advantages"], mask)


@pytest.mark.parametrize("method", METHODS)
def test_the_engines_loss_and_gradient_are_the_methods_surrogate(tmp_path, method):
    trainer = tiny_trainer(tmp_path, method)
    output = scored(trainer)
    loss = trainer._compute_loss(trainer.model, output)
    expected, diagnostics = surrogate(trainer, output)
    assert diagnostics["clip_low"] + diagnostics["clip_high"] > 0
    torch.testing.assert_close(loss, expected)
    found = gradients(trainer, loss)
    assert found.abs().max() > 0
    torch.testing.assert_close(found, gradients(trainer, surrogate(trainer, output)[0]), atol=1e-6, rtol=1e-4)
    logged = trainer._metrics["train"]
    # Shares of tokens where a token has a ratio, of responses where a response has one.
    for side in ("low", "high"):
        if trainer.method.surrogate.ratio != "token" or trainer.method.surrogate.aggregation == "token_mean":
            expected_share = pytest.approx(diagnostics[f"clip_{side}"].item(), abs=1e-6)
            assert logged[f"clip_ratio/{side}_mean"][-1] == expected_share
    assert {"clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"} <= set(logged)


def test_forking_restricts_the_loss_and_its_token_count(tmp_path):
    records = []
    trainer = tiny_trainer(tmp_path, "dapo_forking", records=records)
    output = trainer._generate_and_score_completions(rows(trainer))
    kept = output["tool_mask"] * output["completion_mask"]
    total = int(output["completion_mask"].sum())
    assert int(kept.sum()) == int(output["num_items_in_batch"]) == -(-total // 5)
    entropies = records[0].entropies
    assert entropies[kept.bool()].min() >= entropies[(1 - kept).bool() & records[0].mask].max()


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
    trainer = tiny_trainer(tmp_path, method, per_device_train_batch_size=4, steps_per_generation=4, max_steps=4)
    output = scored(trainer)
    losses = []
    for start in range(0, 16, 4):
        piece = {
            name: value[start : start + 4] if isinstance(value, torch.Tensor) and value.ndim else value
            for name, value in output.items()
        }
        losses.append(trainer._compute_loss(trainer.model, piece))
    whole, _ = surrogate(trainer, output)
    torch.testing.assert_close(torch.stack(losses).mean(), whole, atol=1e-6, rtol=1e-4)


def test_no_gradient_flows_into_the_credit(tmp_path):
    trainer = tiny_trainer(tmp_path)
    output = trainer._generate_and_score_completions(rows(trainer))
    assert not output["advantages"].requires_grad
