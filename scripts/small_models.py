"""The tokenizer and the untrained model that the scripts for the small models start from."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


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
