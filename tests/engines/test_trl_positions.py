"""Positions are counted from the mask: how far a prompt is padded changes nothing, also where a model learned them."""

import pytest
import torch
from tiny import NUMBERS, even_sum_of_even_prompts, logprobs_of, tiny_model, tiny_trainer, unmoved
from transformers import GPT2Config, GPT2LMHeadModel

pytestmark = pytest.mark.slow


class BlindToPositions(GPT2LMHeadModel):
    """Counts padding whatever positions it is given."""

    def forward(self, *args, position_ids=None, **kwargs):
        return super().forward(*args, **kwargs)


def model_with_absolute_positions(cls=GPT2LMHeadModel):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=NUMBERS + 3, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.3,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return cls(config)


MODELS = {"rotary": tiny_model, "absolute": model_with_absolute_positions}
GEOMETRY = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4}
SAMPLES = {"reward": even_sum_of_even_prompts, "max_completion_length": 16, "max_steps": 2, **GEOMETRY}
"""One sampled batch for two updates."""


@torch.no_grad()
def moved_by_padding(model):
    """Whether a row's log-probabilities change where it is padded on the left."""
    row, mask = torch.tensor([[3, 4, 5, 6]]), torch.ones(1, 4, dtype=torch.long)
    padded = torch.cat([torch.zeros_like(row), row], dim=1), torch.cat([torch.zeros_like(mask), mask], dim=1)
    bare = model(input_ids=row, attention_mask=mask).logits
    return not torch.allclose(model(input_ids=padded[0], attention_mask=padded[1]).logits[:, 4:], bare, atol=1e-4)


def positions_given(model):
    """Whether the model gets positions where it is called with a mask alone."""
    found = []
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: found.append("position_ids" in kwargs), with_kwargs=True
    )
    model(input_ids=torch.tensor([[3]]), attention_mask=torch.tensor([[1]]))
    handle.remove()
    return found == [True]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "options",
    [{}, {"old_logprobs": "sampler"}, {"dynamic_sampling": True}],
    ids=["sorted", "recorded while sampling", "refilled"],
)
def test_a_policy_that_has_not_moved_has_the_log_probabilities_that_it_sampled_with(tmp_path, model, options):
    trainer, _ = unmoved(tmp_path, model=MODELS[model](), **SAMPLES, **options)
    prompts = {int(length) for batch in trainer.micro_batches for length in batch["prompt_mask"].sum(dim=1)}
    assert len(prompts) > 1  # or nothing was padded
    for batch in trainer.micro_batches:
        now = logprobs_of(trainer.model, batch)
        live = batch["completion_mask"].bool()
        torch.testing.assert_close(now[live], batch["old_per_token_logps"][live], atol=1e-4, rtol=0)


def test_only_a_model_that_padding_moves_gets_positions_and_then_it_does_not_move(tmp_path):
    rotary, absolute = tiny_model(), model_with_absolute_positions()
    assert not moved_by_padding(rotary)
    assert moved_by_padding(absolute)
    for model in (rotary, absolute):
        tiny_trainer(tmp_path, model=model)
        assert positions_given(model) == (model is absolute)
        assert not moved_by_padding(model)


def test_a_model_that_padding_moves_whatever_its_positions_is_warned_of_and_prompts_stay_as_sampled(tmp_path):
    model = model_with_absolute_positions(BlindToPositions)
    with pytest.warns(UserWarning, match="output of BlindToPositions depends on the amount of prompt padding"):
        trainer, _ = unmoved(tmp_path, model=model, **SAMPLES)
    assert len({tuple(batch["prompt_ids"].shape) for batch in trainer.micro_batches}) == 1
    assert len({tuple(batch["completion_ids"].shape) for batch in trainer.micro_batches}) > 1


def test_a_reference_model_counts_as_the_policy_does(tmp_path):
    model_with_absolute_positions().save_pretrained(tmp_path / "model")
    trainer = tiny_trainer(tmp_path, "gtpo", model=str(tmp_path / "model"), beta=0.1)
    reference = trainer.accelerator.unwrap_model(trainer.ref_model)
    assert positions_given(reference)
    assert not moved_by_padding(reference)
