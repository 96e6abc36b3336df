"""Entropies of the sampling policy: from the sampler, from TRL's own pass, from a pass of ours; and what they cost."""

import pytest
import torch
from peft import LoraConfig
from tiny import rows, tiny_model, tiny_tokenizer, tiny_trainer
from trl import GRPOConfig, GRPOTrainer


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_old_logprob_pass_and_own_pass_agree(tmp_path, temperature):
    geometry = {"per_device_train_batch_size": 8, "steps_per_generation": 2}
    found = {}
    for source in ("sampler", "auto"):
        trainer = tiny_trainer(tmp_path, entropy_source=source, temperature=temperature, **geometry)
        assert trainer._sources.recorded == (source == "sampler")
        torch.manual_seed(0)
        found[source], _ = trainer._sample(rows(trainer))
    assert torch.equal(found["sampler"]["completion_ids"], found["auto"]["completion_ids"])
    mask = found["auto"]["completion_mask"].bool()
    own = trainer._score(found["auto"])[1]
    for output in found.values():
        assert (output["entropies"] - own)[mask].abs().max() < 1e-4
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


SEVERAL = {"per_device_train_batch_size": 8, "steps_per_generation": 2}
"""A batch that serves several optimizer steps, so that its loss needs old log-probabilities."""


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
    runs = {"recompute": 0, "sampler": 0}
    outputs = {}
    for source in runs:
        trainer = tiny_trainer(tmp_path, old_logprobs=source, **SEVERAL, **options)
        torch.manual_seed(0)

        def count(*_, source=source):
            runs[source] += 1

        trainer._sampled_model.register_forward_hook(count)
        outputs[source] = trainer._sample(rows(trainer))[0]
    live = outputs["sampler"]["completion_mask"].bool()
    assert torch.equal(outputs["sampler"]["completion_ids"], outputs["recompute"]["completion_ids"])
    for name in ("old_per_token_logps", "entropies"):
        torch.testing.assert_close(outputs["sampler"][name][live], outputs["recompute"][name][live], atol=1e-4, rtol=0)
    assert outputs["sampler"]["old_per_token_logps"][live].std() > 0.05
    assert runs["sampler"] < runs["recompute"]


def test_a_run_with_old_logprobs_of_the_sampler_is_the_run_without(tmp_path):
    weights = {}
    for source in ("recompute", "sampler"):
        trainer = tiny_trainer(tmp_path, old_logprobs=source, max_steps=4, **SEVERAL)
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
    trainer = tiny_trainer(tmp_path, model=tiny_model().to(torch.bfloat16), **geometry)
    output, _ = trainer._sample(rows(trainer))
    live = output["completion_mask"].bool()
    assert output["entropies"].dtype == torch.float32
    trainer.model.float()
    assert output["entropies"].isfinite().all()
    assert (output["entropies"] - trainer._score(output)[1])[live].abs().mean() < 0.05


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
    trainer = tiny_trainer(tmp_path, **pieces)
    with pytest.raises(RuntimeError, match="entropy_source='scoring'"):
        trainer._sample(rows(trainer))
    trainer = tiny_trainer(tmp_path, entropy_source="scoring", **pieces)
    assert trainer._sample(rows(trainer))[0]["entropies"].isfinite().all()


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
