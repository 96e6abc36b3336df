"""A policy of a few thousand random weights, a tokenizer of numbers and a dataset: real TRL steps in milliseconds."""

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer

NUMBERS = 20
METHODS = {
    "gtpo": {},
    "grpo_s": {},
    "grpo_s geometric": {"ratio": "sequence_geometric"},
    "grpo": {},
    "dapo": {},
    "dapo_forking": {},
    "dapo sequence_mean": {"aggregation": "sequence_mean"},
    "opo": {},
}


class Watched(ShapedGRPOTrainer):
    """Keeps the micro-batches that reach the loss, in the order in which they do, as the public ``compute_loss`` gets
    them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.micro_batches = []

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.micro_batches.append(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)


def tiny_tokenizer():
    words = ["<pad>", "<bos>", "<eos>", *map(str, range(NUMBERS))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )


def tiny_model(seed=0):
    """Weights large enough that entropies differ from token to token."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=NUMBERS + 3,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def tiny_dataset(size=48):
    """Prompts of two to four numbers: batches are padded on the left."""
    prompts = [f"{i % NUMBERS} {(7 * i) % NUMBERS}" + " 3" * (i % 3) for i in range(size)]
    return Dataset.from_dict({"prompt": prompts, "first": [i % NUMBERS for i in range(size)]})


def even_sum(prompts, completions, **columns):
    """Right when the numbers of the answer have an even sum: about half of the time."""
    return [float(sum(map(int, completion.split())) % 2 == 0) for completion in completions]


def even_sum_of_even_prompts(prompts, completions, first, **columns):
    """Odd prompts are never answered right: their groups have one outcome."""
    return [good * (1 - number % 2) for good, number in zip(even_sum(prompts, completions), first, strict=True)]


def tiny_config(output, method="gtpo", **options):
    name, _, _ = method.partition(" ")
    settings = {
        "num_generations": 4,
        "per_device_train_batch_size": 16,
        "max_completion_length": 8,
        "learning_rate": 1e-3,
        "max_steps": 1,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "dynamic_sampling": False,
        "method_options": METHODS.get(method),
    }
    return ShapedGRPOConfig(str(output), method=name, **{**settings, **options})


def tiny_trainer(
    output,
    method="gtpo",
    *,
    reward=even_sum,
    model=None,
    records=None,
    dataset=None,
    cls=ShapedGRPOTrainer,
    peft_config=None,
    rollout_func=None,
    **options,
):
    return cls(
        model if model is not None else tiny_model(),
        reward,
        tiny_config(output, method, **options),
        dataset if dataset is not None else tiny_dataset(),
        processing_class=tiny_tokenizer(),
        on_rollouts=None if records is None else records.append,
        peft_config=peft_config,
        rollout_func=rollout_func,
    )


def rows(trainer, prompts=4):
    """Inputs of one generation batch: each prompt repeated for its group."""
    group = trainer.num_generations
    return [trainer.train_dataset[i] for i in range(prompts) for _ in range(group)]
