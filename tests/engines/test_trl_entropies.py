"""Entropies of the sampling policy: from the sampler, from TRL's own pass, from a pass of ours; and what they cost."""

import pytest
import torch
from peft import LoraConfig
from tiny import recomputed, tiny_model, tiny_tokenizer, tiny_trainer, unmoved
from trl import GRPOConfig, GRPOTrainer

from entroshape.engines.trl.sampler import chosen_sources

pytestmark = pytest.mark.slow

SEVERAL = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "max_steps": 2}
"""A batch that serves several optimizer steps, so that its loss needs old log-probabilities."""


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_old_logprob_pass_and_own_pass_agree(tmp_path, temperature):
    found = {}
    for source in ("sampler", "auto"):
        watchable = {"watchable": True, "scores_old_logprobs": True}
        assert chosen_sources(source, "recompute", **watchable).recorded == (source == "sampler")
        trainer, (found[source],) = unmoved(tmp_path, entropy_source=source, temperature=temperature, **SEVERAL)
    assert torch.equal(found["sampler"].token_ids, found["auto"].token_ids)
    mask = found["auto"].mask
    own = recomputed(trainer, found["auto"], temperature)[1]
    for record in found.values():
        assert (record.entropies - own)[mask].abs().max() < 1e-4
    assert own[mask].std() > 0.05  # or agreement would mean nothing


def test_entropies_are_those_of_the_distribution_that_each_token_was_drawn_from(tmp_path):
    trainer, (record,) = unmoved(tmp_path, temperature=0.7)
    expected = recomputed(trainer, record, 0.7)[1]
    torch.testing.assert_close(record.entropies[record.mask], expected[record.mask], atol=1e-4, rtol=0)


def counted(model):
    """A list that grows with each forward pass of the model."""
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    return passes


@pytest.mark.parametrize(
    "geometry", [{"steps_per_generation": 1}, {"per_device_train_batch_size": 8, "steps_per_generation": 2}]
)
def test_gtpo_runs_the_model_no_more_often_than_trl(tmp_path, geometry):
    # With learning rate 0 both sample the same tokens, so that they call the model equally often while sampling.
    ours = tiny_trainer(tmp_path, learning_rate=0.0, max_steps=4, **geometry)
    calls = [counted(ours.model)]
    ours.train()
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
    calls.append(counted(theirs.model))
    theirs.train()
    assert len(calls[0]) == len(calls[1]) > 4


def test_a_method_without_need_for_entropies_makes_no_pass_for_them(tmp_path):
    _, (record,) = unmoved(tmp_path, "grpo", entropy_source="scoring")
    assert record.entropies is None


def test_surprisal_gets_the_sampling_policys_logprobs(tmp_path):
    records = []
    trainer = tiny_trainer(tmp_path, "gtpo_surprisal", records=records)
    trainer.train()
    assert records[0].credit.shaped_rewards[records[0].mask].std() > 0


def test_lora_entropies_agree_with_a_scoring_pass(tmp_path):
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer, (record,) = unmoved(tmp_path, peft_config=lora)
    expected = recomputed(trainer, record)[1]
    torch.testing.assert_close(record.entropies[record.mask], expected[record.mask], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.7},
        {"max_completion_length": 3},
        {"beta": 0.1, "peft_config": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")},
    ],
)
def test_old_logprobs_of_the_sampler_are_those_of_the_scoring_pass_that_they_save(tmp_path, options):
    passes, records, batches = {}, {}, {}
    for source in ("recompute", "sampler"):
        model = tiny_model()
        passes[source] = counted(model)
        trainer, (records[source],) = unmoved(tmp_path, model=model, old_logprobs=source, **SEVERAL, **options)
        batches[source] = trainer.micro_batches
    assert torch.equal(records["sampler"].token_ids, records["recompute"].token_ids)
    mask = records["sampler"].mask
    torch.testing.assert_close(
        records["sampler"].entropies[mask], records["recompute"].entropies[mask], atol=1e-4, rtol=0
    )
    for recorded, scored in zip(batches["sampler"], batches["recompute"], strict=True):
        assert torch.equal(recorded["completion_ids"], scored["completion_ids"])
        live = scored["completion_mask"].bool()
        old = [batch["old_per_token_logps"][live] for batch in (recorded, scored)]
        torch.testing.assert_close(*old, atol=1e-4, rtol=0)
        assert old[0].std() > 0.05
    assert len(passes["sampler"]) < len(passes["recompute"])


def test_a_run_with_old_logprobs_of_the_sampler_is_the_run_without(tmp_path):
    weights = {}
    for source in ("recompute", "sampler"):
        trainer = tiny_trainer(tmp_path, old_logprobs=source, **{**SEVERAL, "max_steps": 4})
        trainer.train()
        weights[source] = torch.cat([value.flatten() for value in trainer.model.state_dict().values()])
    torch.testing.assert_close(weights["sampler"], weights["recompute"], atol=1e-4, rtol=0)


def test_old_logprobs_of_a_sampler_that_cannot_be_watched_or_that_nobody_needs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="old_logprobs='recompute'"):
        tiny_trainer(tmp_path, old_logprobs="sampler", rollout_func=lambda prompts, trainer: {}, **SEVERAL)
    with pytest.raises(ValueError, match="no effect"):
        tiny_trainer(tmp_path, old_logprobs="sampler", steps_per_generation=1)
    with pytest.raises(ValueError, match="entropy_source"):
        tiny_trainer(tmp_path, old_logprobs="sampler", entropy_source="scoring", **SEVERAL)
    with pytest.raises(ValueError, match="old_logprobs"):
        tiny_trainer(tmp_path, old_logprobs="rescore", **SEVERAL)


@pytest.mark.parametrize("geometry", [{}, SEVERAL])
def test_entropies_of_a_bf16_model_are_finite_and_close_to_those_of_fp32(tmp_path, geometry):
    trainer, (record,) = unmoved(tmp_path, model=tiny_model().to(torch.bfloat16), **geometry)
    assert record.entropies.dtype == torch.float32
    assert record.entropies.isfinite().all()
    trainer.model.float()
    assert (record.entropies - recomputed(trainer, record)[1])[record.mask].abs().mean() < 0.05


def test_the_recorder_pairs_entropies_with_tokens_or_says_that_it_cannot():
    from entroshape.engines.trl.sampler import SamplerRecorder

    model = tiny_model()
    prompts, mask = torch.tensor([[0, 5], [6, 7]]), torch.tensor([[1, 1], [1, 0]])
    tokens = torch.tensor([[8, 9], [2, 0]])
    with SamplerRecorder(model, 1.0) as recorder, torch.no_grad():
        model(input_ids=prompts)
        model(input_ids=tokens[:, :1])
        model(input_ids=tokens[:, 1:])  # a run past the last token, as ranks that wait for each other make them
    logprobs, entropies = recorder.stacked(prompts, tokens, mask)
    assert logprobs.shape == entropies.shape == (2, 2)
    model(input_ids=prompts)
    again = recorder.stacked(prompts, tokens, mask)
    assert torch.equal(again[0], logprobs)  # the hook is gone
    assert torch.equal(again[1], entropies)

    for fed, runs in ((prompts[:, :1], 3), (prompts, 1)):  # a prompt read in pieces; too few runs
        with SamplerRecorder(model, 1.0) as recorder, torch.no_grad():
            for piece in (fed, prompts[:, 1:], tokens[:, :1])[:runs]:
                model(input_ids=piece)
        with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
            recorder.stacked(prompts, tokens, mask)
    with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
        recorder.stacked(prompts[:1], tokens[:1], mask[:1])
    assert recorder.stacked(prompts, tokens, 0 * mask)[1].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_the_recorder_notices_that_another_token_was_fed_back_than_the_one_that_was_sampled():
    from entroshape.engines.trl.sampler import SamplerRecorder

    model = tiny_model()
    prompts, tokens = torch.tensor([[5], [6]]), torch.tensor([[8, 9], [3, 4]])
    with SamplerRecorder(model, 1.0) as recorder, torch.no_grad():
        for fed in (prompts, tokens[:, :1], tokens[:, :1]):
            model(input_ids=fed)
    with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
        recorder.stacked(prompts, tokens, torch.ones(2, 2))


def test_a_prompt_read_in_pieces_is_noticed_and_scoring_serves_it(tmp_path):
    pieces = {"generation_kwargs": {"prefill_chunk_size": 1}}
    with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
        unmoved(tmp_path, **pieces)
    _, (record,) = unmoved(tmp_path, entropy_source="scoring", **pieces)
    assert record.entropies.isfinite().all()


def test_entropy_source_sampler_is_refused_where_the_sampler_cannot_be_watched(tmp_path):
    with pytest.raises(ValueError, match="entropy_source='auto'"):
        tiny_trainer(tmp_path, entropy_source="sampler", rollout_func=lambda prompts, trainer: {})


def test_a_rollout_function_of_ones_own_gets_entropies_from_a_scoring_pass(tmp_path):
    def rollout(prompts, trainer):
        read = trainer.processing_class(prompts)["input_ids"]
        written = [[3 + i % 9, 4, 2] for i in range(len(prompts))]
        return {"prompt_ids": read, "completion_ids": written, "logprobs": [[-1.0] * 3 for _ in prompts]}

    records = []
    tiny_trainer(tmp_path, rollout_func=rollout, records=records).train()
    assert records[0].entropies[records[0].mask].min() > 0
