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
    name = method.partition(" ")[0] if isinstance(method, str) else method
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


def unmoved(output, method="gtpo", **options):
    """A trainer that has trained without moving (its weights are still those that it sampled with), and its records."""
    records = []
    trainer = tiny_trainer(output, method, cls=Watched, records=records, learning_rate=0.0, **options)
    trainer.train()
    return trainer, records


@torch.no_grad()
def recomputed(trainer, record, temperature=1.0):
    """Log-probabilities and entropies ``[B, T]`` of a record's tokens: row by row, without padding or engine."""
    found = torch.zeros(2, *record.mask.shape)
    for row, (prompt, mask) in enumerate(zip(record.prompts, record.mask, strict=True)):
        before = torch.tensor(trainer.processing_class(prompt)["input_ids"])
        own = record.token_ids[row][mask]
        logits = trainer.model(input_ids=torch.cat([before, own])[None]).logits[0, len(before) - 1 : -1]
        log_p = (logits.float() / temperature).log_softmax(-1)
        found[0, row, mask] = log_p.gather(1, own[:, None])[:, 0]
        found[1, row, mask] = -(log_p.exp() * log_p).sum(-1)
    return found


def logprobs_of(model, batch):
    """Log-probabilities ``[B, T]`` of a micro-batch's completions, with a gradient, by the plain formula."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    start = batch["prompt_ids"].shape[1]
    log_p = model(input_ids=ids, attention_mask=mask).logits[:, start - 1 : -1].log_softmax(-1)
    return log_p.gather(2, batch["completion_ids"][:, :, None])[:, :, 0]


def rows(trainer, prompts=4):
    """Inputs of one generation batch: each prompt repeated for its group."""
    group = trainer.num_generations
    return [trainer.train_dataset[i] for i in range(prompts) for _ in range(group)]
