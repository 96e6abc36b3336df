"""Entropies of the sampling policy: from the sampler, from TRL's own pass, from a pass of ours; and what they cost."""

import pytest
import torch
from peft import LoraConfig
from tiny import rows, tiny_model, tiny_tokenizer, tiny_trainer
from trl import GRPOConfig, GRPOTrainer


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_old_logprob_pass_and_own_pass_agree(tmp_path, temperature):
    trainer = tiny_trainer(
        tmp_path,
        entropy_source="sampler",
        temperature=temperature,
        per_device_train_batch_size=8,
        steps_per_generation=2,
    )
    assert trainer._scores_old_logprobs
    output, _ = trainer._sample(rows(trainer))
    mask = output["completion_mask"].bool()
    recorded, piggybacked = output["entropies"], trainer._scored_entropies
    own = trainer._score(output)[1]
    assert (recorded - own)[mask].abs().max() < 1e-4
    assert (piggybacked - own)[mask].abs().max() < 1e-4
    assert own[mask].std() > 0.05  # or agreement would mean nothing


def test_entropies_are_those_of_the_distribution_that_each_token_was_drawn_from(tmp_path):
    trainer = tiny_trainer(tmp_path, temperature=0.7)
    output, _ = trainer._sample(rows(trainer))
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    with torch.no_grad():
        logits = trainer.model(input_ids=ids, attention_mask=mask).logits / 0.7
    start = output["prompt_ids"].shape[1]
    log_p = logits[:, start - 1 : -1].log_softmax(-1)
    expected = -(log_p.exp() * log_p).sum(-1)
    live = output["completion_mask"].bool()
    torch.testing.assert_close(output["entropies"][live], expected[live], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "geometry", [{"steps_per_generation": 1}, {"per_device_train_batch_size": 8, "steps_per_generation": 2}]
)
def test_gtpo_runs_the_model_no_more_often_than_trl(tmp_path, geometry):
    calls = []

    def counted(trainer):
        calls.append(0)

        def count(*_):
            calls[-1] += 1

        trainer.model.register_forward_hook(count)
        trainer.train()

    # With learning rate 0 both sample the same tokens, so that they call the model equally often while sampling.
    ours = tiny_trainer(tmp_path, learning_rate=0.0, max_steps=4, **geometry)
    counted(ours)
    theirs = GRPOTrainer(
        tiny_model(),
        ours.reward_funcs[0],
        GRPOConfig(
            str(tmp_path),
            num_generations=4,
            **geometry,
            max_completion_length=8,
            learning_rate=0.0,
            max_steps=4,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
            gradient_checkpointing=False,
        ),
        ours.train_dataset,
        processing_class=tiny_tokenizer(),
    )
    counted(theirs)
    assert calls[0] == calls[1] > 4


def test_a_method_without_need_for_entropies_makes_no_pass_for_them(tmp_path):
    trainer = tiny_trainer(tmp_path, "grpo", entropy_source="scoring")
    output, _ = trainer._sample(rows(trainer))
    assert "entropies" not in output


def test_surprisal_gets_the_sampling_policys_logprobs(tmp_path):
    records = []
    trainer = tiny_trainer(tmp_path, "gtpo_surprisal", records=records)
    trainer.train()
    assert records[0].credit.shaped_rewards[records[0].mask].std() > 0


def test_lora_entropies_agree_with_a_scoring_pass(tmp_path):
    trainer = tiny_trainer(tmp_path, peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    output, _ = trainer._sample(rows(trainer))
    live = output["completion_mask"].bool()
    torch.testing.assert_close(output["entropies"][live], trainer._score(output)[1][live], atol=1e-4, rtol=0)


def test_a_sampler_that_runs_the_model_otherwise_is_noticed():
    from entroshape.engines.trl.recorder import SamplingEntropies

    model = tiny_model()
    with SamplingEntropies(model, 1.0) as recorder, torch.no_grad():
        model(torch.ones(3, 2, dtype=torch.long))
    assert recorder.stacked(3, 1).shape == (3, 1)
    with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
        recorder.stacked(3, 2)
    with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
        recorder.stacked(4, 1)
    model(torch.ones(1, 2, dtype=torch.long))
    assert recorder.stacked(3, 1).shape == (3, 1)  # the hook is gone


def test_entropy_source_sampler_is_refused_where_the_sampler_cannot_be_watched(tmp_path):
    trainer = tiny_trainer(tmp_path, entropy_source="sampler")
    trainer.rollout_func = lambda prompts, trainer: {}
    with pytest.raises(ValueError, match="entropy_source='auto'"):
        trainer._sample(rows(trainer))
