"""Positions are counted from the mask: how far a prompt is padded changes nothing, also where a model learned them."""

import pytest
import torch
from tiny import NUMBERS, Watched, even_sum_of_even_prompts, tiny_model, tiny_trainer
from transformers import GPT2Config, GPT2LMHeadModel

from entroshape.engines.trl import speed


def model_with_absolute_positions():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=NUMBERS + 3, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


MODELS = {"rotary": tiny_model, "absolute": model_with_absolute_positions}


def trained(tmp_path, model, **options):
    """A trainer that has sampled one batch for two updates and has not moved."""
    trainer = tiny_trainer(
        tmp_path,
        "gtpo",
        cls=Watched,
        model=MODELS[model](),
        reward=even_sum_of_even_prompts,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        steps_per_generation=4,
        max_completion_length=16,
        max_steps=2,
        learning_rate=0.0,
        **options,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "options",
    [{}, {"old_logprobs": "sampler"}, {"dynamic_sampling": True}],
    ids=["sorted", "recorded while sampling", "refilled"],
)
def test_a_policy_that_has_not_moved_has_the_log_probabilities_that_it_sampled_with(tmp_path, model, options):
    trainer = trained(tmp_path, model, **options)
    prompts = {int(length) for batch in trainer.micro_batches for length in batch["prompt_mask"].sum(dim=1)}
    assert len(prompts) > 1  # or nothing was padded
    for batch in trainer.micro_batches:
        now, _ = trainer._score(batch)
        live = batch["completion_mask"].bool()
        torch.testing.assert_close(now[live], batch["old_per_token_logps"][live], atol=1e-4, rtol=0)


def test_only_a_model_that_padding_moves_gets_positions_and_then_it_does_not_move(tmp_path):
    rotary, absolute = tiny_model(), model_with_absolute_positions()
    assert not speed._moves_with_padding(rotary)
    assert speed._moves_with_padding(absolute)
    for model, hooks in ((rotary, 0), (absolute, 1)):
        trainer = tiny_trainer(tmp_path, model=model)
        assert trainer._taking["cut_prompts"]
        assert len(model._forward_pre_hooks) == hooks
        assert not speed._moves_with_padding(model)


def test_a_model_that_padding_moves_whatever_its_positions_is_warned_of_and_prompts_stay_as_sampled(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(speed, "_moves_with_padding", lambda model: True)
    with pytest.warns(UserWarning, match="output of LlamaForCausalLM depends on the amount of prompt padding"):
        trainer = trained(tmp_path, "rotary")
    assert len({tuple(batch["prompt_ids"].shape) for batch in trainer.micro_batches}) == 1
    assert len({tuple(batch["completion_ids"].shape) for batch in trainer.micro_batches}) > 1


def test_a_reference_model_counts_as_the_policy_does(tmp_path):
    model_with_absolute_positions().save_pretrained(tmp_path / "model")
    trainer = tiny_trainer(tmp_path, "gtpo", model=str(tmp_path / "model"), beta=0.1)
    assert len(trainer.accelerator.unwrap_model(trainer.ref_model)._forward_pre_hooks) == 1
