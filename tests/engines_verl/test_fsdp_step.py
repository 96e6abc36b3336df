"""A real verl training worker (FSDP2, in this process): what it computes, and what our loss makes of it."""

import os
import socket
from functools import partial

import pytest
import torch
from rollouts import PROMPT, model, proto, rollouts, scored
from tiny import tiny_tokenizer
from verl.trainer.config import AlgoConfig, CheckpointConfig
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.utils import tensordict_utils as tu
from verl.workers.config import (
    FSDPActorConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    PolicyLossConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import left_right_2_no_padding, no_padding_2_padding

from entroshape.engines.verl.handoff import Handoff, handing
from entroshape.engines.verl.options import AGGREGATIONS, ESTIMATORS, loss_mode
from entroshape.methods import build_method

MICRO_BATCH = 4


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """One worker that is its own world; its learning rate is 0, so that every test meets the same weights."""
    path = tmp_path_factory.mktemp("model")
    model().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RAY_LOCAL_WORLD_SIZE"), "1")
    alone = dict.fromkeys(("RANK", "LOCAL_RANK"), "0") | sizes
    os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    made = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=HFModelConfig(
                path=str(path),
                override_config={"attn_implementation": "sdpa"},
                use_remove_padding=False,
                enable_gradient_checkpointing=False,
            ),
            engine_config=FSDPEngineConfig(
                strategy="fsdp2",
                use_torch_compile=False,
                mixed_precision={"param_dtype": "fp32", "reduce_dtype": "fp32"},
                use_dynamic_bsz=False,
                infer_micro_batch_size_per_gpu=MICRO_BATCH,
                micro_batch_size_per_gpu=MICRO_BATCH,
            ),
            optimizer_config=FSDPOptimizerConfig(lr=0.0, total_training_steps=9, lr_warmup_steps=0, clip_grad=1e9),
            checkpoint_config=CheckpointConfig(),
            profiler_config=None,
        )
    )
    made.reset()
    yield made
    torch.distributed.destroy_process_group()


def inferred(worker, batch):
    data = left_right_2_no_padding(batch.to_tensordict())
    tu.assign_non_tensor(data, calculate_entropy=True, compute_loss=False)
    out = worker.infer_batch(data)
    return [no_padding_2_padding(tu.get(out, name), data).float() for name in ("log_probs", "entropy")]


def test_the_workers_entropies_and_log_probabilities_are_those_of_the_policy(worker):
    data = rollouts()
    logprobs, entropies = inferred(worker, proto(data))
    expected = scored(model(), data)
    live = data["mask"][:, PROMPT:].bool()
    torch.testing.assert_close(logprobs[live], expected[0][live], atol=1e-5, rtol=0)
    torch.testing.assert_close(entropies[live], expected[1][live], atol=1e-5, rtol=0)
    assert entropies[live].std() > 0.01


@pytest.mark.parametrize("estimator", ["gtpo", "grpo_s", "dapo_forking", "entroshape_grpo"])
def test_a_step_over_micro_batches_has_the_gradient_of_the_methods_own_surrogate(worker, estimator):
    data, method = rollouts(), build_method(ESTIMATORS[estimator])
    batch = proto(data)
    logprobs, entropies = inferred(worker, batch)
    old = logprobs - 0.3 * torch.rand(logprobs.shape, generator=torch.Generator().manual_seed(1))
    batch.batch["old_log_probs"] = old
    batch.batch["token_level_rewards"] = torch.zeros_like(logprobs)
    handoff = Handoff(
        method=method,
        rewards=data["rewards"],
        real=torch.ones(len(old), dtype=torch.bool),
        entropies=entropies,
        logprobs=None,
        seed=0,
    )
    with handing(handoff):
        batch = compute_advantage(batch, adv_estimator=estimator, config=AlgoConfig(adv_estimator=estimator))
    mask = handoff.credit.loss_mask
    batch.batch["response_mask"] = mask.long()  # what the trainer mode writes

    surrogate = method.surrogate
    actor = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=4,
        ppo_mini_batch_size=8,
        ppo_micro_batch_size_per_gpu=MICRO_BATCH,
        clip_ratio_low=surrogate.epsilon_low,
        clip_ratio_high=surrogate.epsilon_high,
        loss_agg_mode=AGGREGATIONS[surrogate.aggregation],
        policy_loss=PolicyLossConfig(loss_mode=loss_mode(surrogate.ratio)),
    )
    worker.set_loss_fn(partial(ppo_loss, config=actor))
    step = left_right_2_no_padding(batch.to_tensordict())
    tu.assign_non_tensor(
        step,
        calculate_entropy=False,
        compute_loss=True,
        global_batch_size=8,
        mini_batch_size=8,
        epochs=1,
        seed=1,
        dataloader_kwargs={"shuffle": False},
    )
    metrics = tu.get(worker.train_mini_batch(step), "metrics")

    policy = model()
    loss, _ = surrogate(scored(policy, data)[0], old, batch.batch["advantages"], mask)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([each.grad for each in policy.parameters() if each.grad is not None])
    figure = {name: value[0] if isinstance(value, list) else value for name, value in metrics.items()}
    assert float(figure["grad_norm"]) == pytest.approx(float(norm), rel=1e-4)
    # Advantages of both signs cancel in the loss, so what is left has the rounding of sums of size 1.
    assert float(figure["actor/pg_loss"]) == pytest.approx(float(loss), rel=1e-4, abs=1e-6)
    assert float(norm) > 1e-3
