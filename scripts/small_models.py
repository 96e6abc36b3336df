"""What the scripts for the small models share: tokenizer, untrained model, and supervised training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from tqdm import tqdm
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)


def word_tokenizer(vocabulary: Sequence[str], *, pad: str, bos: str, eos: str, context: int) -> PreTrainedTokenizerFast:
    """One token per word of ``vocabulary``, with ``bos`` in front."""
    core = Tokenizer(models.WordLevel({token: place for place, token in enumerate(vocabulary)}))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, vocabulary.index(bos))]
    )
    return wrapped(core, context=context, pad_token=pad, bos_token=bos, eos_token=eos)


def wrapped(core: Tokenizer, *, context: int, **special: str) -> PreTrainedTokenizerFast:
    """The tokenizer for transformers, with padding on the left as generation needs it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        **special,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def random_llama(
    tokenizer: PreTrainedTokenizerFast, *, layers: int, hidden: int, feed_forward: int, key_value_heads: int = 4
) -> LlamaForCausalLM:
    """A Llama with four heads and random weights; by default it samples from its full distribution at temperature 1."""
    tokens = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=key_value_heads,
            intermediate_size=feed_forward,
            max_position_embeddings=tokenizer.model_max_length,
            rope_parameters={"rope_type": "default", "rope_theta": 1e4},
            tie_word_embeddings=True,
            **tokens,
        )
    )
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_p=1.0, top_k=0, **tokens)
    return model


def fit(model: LlamaForCausalLM, data: Iterator[tuple[Tensor, Tensor]], steps: int, peak: float) -> float:
    """Trains with AdamW, a cosine schedule and bf16 autocast. Returns the mean loss of the last 50 steps, in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak)
    schedule = get_cosine_schedule_with_warmup(
        optimizer, num_warmup_steps=min(50, steps // 10), num_training_steps=steps
    )
    losses: list[float] = []
    model.train()
    with tqdm(range(steps), desc="warm start", unit="step") as progress:
        for _ in progress:
            input_ids, labels = next(data)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                # Padding is on the right here, after all tokens with a loss, so the causal mask is enough.
                loss = model(input_ids=input_ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            progress.set_postfix(loss=f"{losses[-1]:.3f}")
    return sum(losses[-50:]) / len(losses[-50:])
