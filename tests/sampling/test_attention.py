"""Attention of one query per row gives what transformers' sdpa gives."""

import pytest
import torch
from sampling_models import PROMPTS, gpt2, llama
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from entroshape.sampling.attention import NAME, attention, one_query_attention
from entroshape.sampling.loop import sample_tokens

pytestmark = pytest.mark.slow

OPTIONS = {"max_new_tokens": 6, "temperature": 1.0, "seed": 5, "ends": [2]}


def masks(rows, size):
    """None, left padding as bools, and the same as numbers that are added."""
    allowed = torch.arange(size) >= torch.arange(rows)[:, None] % size
    allowed = allowed[:, None, None]
    return [None, allowed, torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)]


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(("heads", "of_keys", "scaling"), [(4, 4, None), (4, 1, 0.3), (6, 2, None)])
@pytest.mark.parametrize("queries", [1, 3])
def test_one_query_and_several_give_what_sdpa_gives(which, heads, of_keys, scaling, queries):
    g = torch.Generator().manual_seed(0)
    rows, size, width = 5, 7, 8
    query = torch.randn(rows, heads, queries, width, generator=g)
    key, value = torch.randn(2, rows, of_keys, size, width, generator=g)
    module = torch.nn.Module()
    module.num_key_value_groups = heads // of_keys
    mask = masks(rows, size)[which]
    mask = None if mask is None else mask.expand(rows, 1, queries, size)
    found, _ = attention(module, query, key, value, mask, scaling=scaling)
    expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_the_models_own_attention_is_back_after_sampling_and_after_an_error(make, monkeypatch):
    model = make()
    assert model.config._attn_implementation == "sdpa"
    seen = []
    model.register_forward_pre_hook(lambda *_: seen.append(model.config._attn_implementation))
    sample_tokens(model, PROMPTS, **OPTIONS)
    assert set(seen) == {NAME}
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(KeyboardInterrupt), one_query_attention(model):
        raise KeyboardInterrupt
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("change", [lambda m: m.set_attn_implementation("eager"), lambda m: m.to(torch.bfloat16)])
def test_other_implementations_and_precisions_are_left_alone(change):
    model = llama()
    change(model)
    before = model.config._attn_implementation
    seen = []
    model.register_forward_pre_hook(lambda *_: seen.append(model.config._attn_implementation))
    sample_tokens(model, PROMPTS, **OPTIONS)
    assert set(seen) == {before}
