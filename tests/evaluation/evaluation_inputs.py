"""A tiny causal language model with random weights, its tokenizer, and a task to evaluate it on."""

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from entroshape.tasks import Task

WORDS = ["<pad>", "<eos>", "even", "odd", "one", "two", "three"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="odd"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def tiny_model(**overrides) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=None, eos_token_id=1,
        attention_dropout=0.5, **overrides,
    )  # fmt: skip
    return LlamaForCausalLM(config).train()


def says_wanted(prompts, completions, wanted, **columns):
    return [float(word in completion.split()) for completion, word in zip(completions, wanted, strict=True)]


def tiny_task(**overrides) -> Task:
    prompts = ["one", "two three one", "one two", "three three"]
    rows = Dataset.from_dict(
        {"id": [f"p{i}" for i in range(4)], "prompt": prompts, "wanted": ["even", "odd", "two", "even"]}
    )
    options = {"name": "tiny", "train": rows, "test": rows, "reward": says_wanted, "max_completion_length": 6}
    return Task(**{**options, **overrides})
