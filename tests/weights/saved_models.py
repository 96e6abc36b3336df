"""Small saved models, whole and in shards, and adapters, for tests of mixtures."""

import json

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM


def tiny_model(seed=0, dtype=torch.float32, **options):
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 23, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 64, "initializer_range": 0.3, "tie_word_embeddings": True,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **options})).to(dtype)


def saved(folder, seed=0, shard_size="1GB", dtype=torch.float32, **options):
    tiny_model(seed, dtype, **options).save_pretrained(folder, max_shard_size=shard_size)
    return folder


def tensors(folder):
    """All tensors of a saved model, however many files they are in."""
    files = list(folder.glob("*model*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def changed(folder, change):
    """Rewrites the only file of a saved model after ``change(tensors)``."""
    content = tensors(folder)
    change(content)
    save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def edited(file, **entries):
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def saved_adapter(folder, base, seed=0, **options):
    """A LoRA adapter of the model in ``base``, as if it were trained: no factor is zero."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **options))
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn_like(weight) * 0.1
    model.save_pretrained(folder)
    return folder
