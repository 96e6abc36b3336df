"""TRL's colocate mode: vLLM samples, and the credit is that of the policy that sampled."""

import math
from functools import partial

import pytest
import torch
from untied import write_untied_model

pytestmark = pytest.mark.slow
vllm = pytest.importorskip("vllm", reason="vLLM is not installed")

from entroshape import logprob_and_entropy  # noqa: E402
from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer  # noqa: E402
from entroshape.tasks import load_task  # noqa: E402

STEPS = 2


def weights_into_vllm(generation):
    """As TRL's own, but at once: vLLM packs its linear layers on a CPU, so they cannot be loaded one by one."""
    weights = ((name, parameter.detach().clone()) for name, parameter in generation._iter_named_params())
    generation.llm.llm_engine.model_executor.driver_worker.model_runner.reload_weights(weights_iterator=weights)
    generation.llm.reset_prefix_cache()


@pytest.fixture(scope="module", params=["gtpo", "grpo_s"])
def run(request, tmp_path_factory):
    from trl.generation import vllm_generation

    task = load_task("countdown", train_size=64, test_size=8, seed=0)
    path = tmp_path_factory.mktemp("model")
    tokenizer = write_untied_model(path)
    records, policies = [], []

    def keep(record):
        records.append(record)
        policies.append({name: value.clone() for name, value in trainer.model.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vllm_generation.VLLMGeneration, "sync_weights", weights_into_vllm)
        # Left alone, vLLM would sample a float32 model in half precision, and nothing could be compared exactly.
        patch.setattr(vllm_generation, "LLM", partial(vllm.LLM, dtype="float32"))
        trainer = ShapedGRPOTrainer(
            model=str(path),
            processing_class=tokenizer,
            reward_funcs=task.reward,
            train_dataset=task.train,
            on_rollouts=keep,
            args=ShapedGRPOConfig(
                str(tmp_path_factory.mktemp("out")),
                method=request.param,
                use_vllm=True,
                vllm_mode="colocate",
                vllm_max_model_length=64,
                use_cpu=True,
                bf16=False,
                num_generations=8,
                per_device_train_batch_size=32,
                max_completion_length=28,
                max_steps=STEPS,
                learning_rate=1e-3,
                max_refills=1,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
            ),
        )
        trainer.train()
    return trainer, records, policies


def test_entropies_are_those_of_the_policy_that_sampled(run):
    trainer, records, policies = run
    assert len(records) == STEPS
    for record, policy in zip(records, policies, strict=True):
        trainer.model.load_state_dict(policy)
        for row in range(0, len(record.mask), 7):
            prompt = trainer.processing_class(record.prompts[row])["input_ids"]
            own = record.mask[row].bool()
            tokens = torch.tensor([prompt + record.token_ids[row][own].tolist()])
            with torch.no_grad():
                logits = trainer.model(tokens).logits[:, len(prompt) - 1 : -1]
            _, entropies = logprob_and_entropy(logits, tokens[:, len(prompt) :])
            assert torch.allclose(record.entropies[row][own], entropies[0], atol=1e-5)


def test_vllm_sampled_from_the_weights_that_were_trained(run):
    trainer, _, _ = run
    steps = [row for row in trainer.state.log_history if "sampling/sampling_logp_difference/max" in row]
    assert len(steps) == STEPS
    for row in steps:
        assert row["sampling/sampling_logp_difference/max"] < 1e-4
        assert math.isfinite(row["loss"])
    assert steps[0]["grad_norm"] > 0
