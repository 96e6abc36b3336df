"""Causal language models of a few thousand random weights, with the parts that a sampling loop can get wrong."""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 13
END = 2
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON = {"vocab_size": VOCABULARY, "initializer_range": 0.4, "bos_token_id": 1, "eos_token_id": END, "pad_token_id": 0}


def llama(**options):
    """Grouped heads and dropout."""
    torch.manual_seed(0)
    config = {**SIZES, **COMMON, "num_key_value_heads": 1, "attention_dropout": 0.5, **options}
    return LlamaForCausalLM(LlamaConfig(**config)).train()


def gpt2():
    """Learned absolute positions."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **COMMON)).train()


def qwen3():
    """Normalised queries and keys."""
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, **COMMON, head_dim=8, num_key_value_heads=2)).train()


def mistral(window):
    torch.manual_seed(0)
    return MistralForCausalLM(MistralConfig(**SIZES, **COMMON, num_key_value_heads=2, sliding_window=window)).train()


MODELS = {"llama": llama, "gpt2": gpt2, "qwen3": qwen3}
PROMPTS = [[3, 4], [5, 6, 7, 8, 9], [3, 4], [10], [5, 6, 7, 8, 9], [11, 12, 3]]
"""Of uneven lengths, two of them twice."""
