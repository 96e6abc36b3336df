"""What samples in TRL: the loop of our own, or transformers' generate, as chosen before training."""

import warnings

import pytest
import torch
from peft import LoraConfig
from tiny import rows, tiny_model, tiny_tokenizer, tiny_trainer
from transformers import MistralConfig, MistralForCausalLM

pytestmark = pytest.mark.slow

SEVERAL = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "old_logprobs": "sampler"}


def sliding_model():
    """A model that the loop cannot drive."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 23, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return MistralForCausalLM(MistralConfig(**sizes, **tokens, sliding_window=4, num_key_value_heads=2))


def test_the_loop_is_chosen_silently_for_a_plain_model(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert tiny_trainer(tmp_path).sampling == "own"


def test_a_model_that_the_loop_cannot_drive_is_sampled_by_generate_with_the_reason(tmp_path):
    with pytest.warns(UserWarning, match="generate, which is slower: MistralForCausalLM needs a cache of"):
        trainer = tiny_trainer(tmp_path, model=sliding_model(), **SEVERAL)
    assert trainer.sampling.startswith("generate: MistralForCausalLM needs")
    trainer.train()
    output, _ = trainer._sample(rows(trainer))
    live = output["completion_mask"].bool()
    torch.testing.assert_close(output["entropies"][live], trainer._score(output)[1][live], atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="sampler='own' cannot be used: MistralForCausalLM needs"):
        tiny_trainer(tmp_path, model=sliding_model(), sampler="own")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"generation_kwargs": {"max_time": 1000.0}}, "generate: generation_kwargs is set"),
        ({"cache_implementation": "static"}, "generate: cache_implementation is set"),
        ({"rollout_func": lambda prompts, trainer: {}}, "TRL: rollout_func is set"),
    ],
)
def test_settings_that_ask_for_another_sampler_are_followed(tmp_path, options, reason):
    assert tiny_trainer(tmp_path, **options).sampling == reason
    with pytest.raises(ValueError, match=r"sampler='own' cannot be used: \w+ is set"):
        tiny_trainer(tmp_path, sampler="own", **options)


def test_an_unknown_sampler_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sampler must be one of 'auto', 'own', 'generate'"):
        tiny_trainer(tmp_path, sampler="vllm")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_checkpointing": True},
        {"temperature": 0.7, "peft_config": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")},
        {"model": tiny_model().to(torch.bfloat16)},
        {"bf16": True},
    ],
)
def test_generate_can_be_asked_for_and_both_samplers_record_what_a_scoring_pass_gives(tmp_path, options):
    bound = 0.2 if "bf16" in options or "model" in options else 1e-4
    for name in ("generate", "own"):
        trainer = tiny_trainer(tmp_path, sampler=name, **SEVERAL, **options)
        assert trainer.sampling.startswith(name)
        trainer.train()
        output, _ = trainer._sample(rows(trainer))
        live = output["completion_mask"].bool()
        logprobs, entropies = trainer._score(output)
        assert (output["old_per_token_logps"] - logprobs)[live].abs().max() < bound
        assert (output["entropies"] - entropies)[live].abs().max() < bound


def test_rounds_and_steps_draw_different_numbers_and_a_round_can_be_drawn_again(tmp_path):
    trainer = tiny_trainer(tmp_path)
    inputs = rows(trainer)
    drawn = [trainer._sample(inputs, number)[0]["completion_ids"].tolist() for number in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    trainer._moment = (3, 0)
    assert trainer._sample(inputs)[0]["completion_ids"].tolist() != drawn[0]


def test_sampling_reads_and_changes_no_global_random_state_and_drops_nothing(tmp_path):
    model = tiny_model()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    trainer = tiny_trainer(tmp_path, model=model)
    inputs = rows(trainer)
    trainer.model.train()
    torch.manual_seed(1)
    first = trainer._sample(inputs)[0]
    torch.manual_seed(2)
    assert torch.equal(trainer._sample(inputs)[0]["completion_ids"], first["completion_ids"])
    assert trainer.model.training


def test_completions_that_were_changed_after_sampling_are_noticed(tmp_path):
    from entroshape.engines.trl.sampling import Sampled
    from entroshape.sampling.loop import sample_tokens

    tokenizer = tiny_tokenizer()
    prompts = tokenizer(["1 2", "3 4"])["input_ids"]
    found = sample_tokens(tiny_model(), prompts, max_new_tokens=5, temperature=1.0, seed=0, ends=[2])
    mask = (torch.arange(7) < found.lengths[:, None]).long()
    ids = torch.nn.functional.pad(found.ids, (0, 7 - found.ids.shape[1]))
    logprobs, entropies = Sampled(found).stacked(torch.tensor(prompts), ids, mask)
    assert logprobs.shape == entropies.shape == (2, 7)
    assert torch.equal(logprobs[:, : found.ids.shape[1]], found.logprobs)
    # A masked completion, as TRL leaves one that was cut.
    Sampled(found).stacked(torch.tensor(prompts), ids, mask * torch.tensor([[1], [0]]))
    ids[0, 0] += 1
    with pytest.raises(RuntimeError, match="not those that were sampled"):
        Sampled(found).stacked(torch.tensor(prompts), ids, mask)
