"""Which models the loop drives, and the cache that it uses."""

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from sampling_models import PROMPTS, llama, mistral, qwen3
from transformers import (
    DynamicCache,
    MambaConfig,
    MambaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from entroshape.engines.trl.speed import tile_head
from entroshape.sampling.cache import GrowingLayer, empty_cache
from entroshape.sampling.loop import sample_tokens
from entroshape.sampling.support import unsupported

pytestmark = pytest.mark.slow

SMALL = {"vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "pad_token_id": 0}
OTHERS = {
    "has an encoder": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=13, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    ),
    "prepares the inputs of sampling in its own way": lambda: MambaForCausalLM(MambaConfig(**SMALL)),
    "Phi3ForCausalLM prepares": lambda: Phi3ForCausalLM(
        Phi3Config(**SMALL, intermediate_size=8, num_attention_heads=2)
    ),
    "needs a cache of DynamicSlidingWindowLayers": lambda: mistral(4),
    "virtual tokens": lambda: get_peft_model(llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)),
    "Linear is not a model of transformers": lambda: torch.nn.Linear(2, 2),
}


@pytest.mark.parametrize("reason", OTHERS)
def test_a_model_that_the_loop_cannot_drive_is_known_before_anything_is_sampled(reason):
    assert reason in unsupported(OTHERS[reason]())


@pytest.mark.parametrize("make", [llama, qwen3, lambda: mistral(None)])
def test_models_with_full_attention_are_driven(make):
    assert unsupported(make()) is None


def test_a_model_whose_forward_pass_training_has_replaced_is_driven_with_the_same_result():
    """As in the evaluations of a run: the trainer computes the output layer in tiles."""
    model, options = llama(), {"max_new_tokens": 8, "temperature": 1.0, "seed": 0, "ends": [2]}
    tile_head(model, 1.0)
    assert unsupported(model) is None
    assert torch.equal(sample_tokens(model, PROMPTS, **options).ids, sample_tokens(llama(), PROMPTS, **options).ids)


def test_adapters_take_part():
    model = get_peft_model(llama(), LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", r=4))
    assert unsupported(model) is None
    options = {"max_new_tokens": 8, "temperature": 1.0, "seed": 0, "ends": [2]}
    before = sample_tokens(model, PROMPTS, **options)
    assert torch.equal(before.ids, sample_tokens(llama(), PROMPTS, **options).ids)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    assert not torch.equal(before.logprobs[:, :1], sample_tokens(model, PROMPTS, **options).logprobs[:, :1])


def test_a_growing_layer_holds_what_the_layer_of_transformers_holds():
    generator = torch.Generator().manual_seed(0)
    config = llama().config
    own, theirs = empty_cache(config, 400), DynamicCache(config=config)
    assert all(type(layer) is GrowingLayer for layer in own.layers)
    rows = 3
    for move in range(60):
        keys, values = torch.randn(2, rows, 1, 5 if move % 7 == 0 else 1, 8, generator=generator)
        for layer in range(len(own)):
            found = own.update(keys + layer, values, layer)
            expected = theirs.update(keys + layer, values, layer)
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
        if move % 5 == 0:
            index = torch.randint(
                rows, (rows + (2 if move == 5 else 0 if move % 10 else -1) or 1,), generator=generator
            )
            rows = len(index)
            own.batch_select_indices(index)
            theirs.batch_select_indices(index)
        assert own.get_seq_length() == theirs.get_seq_length()
        assert own.get_mask_sizes(1, 0) == theirs.get_mask_sizes(1, 0)
