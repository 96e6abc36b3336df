"""A model for vLLM on a CPU, which packs an output head that is tied to the embeddings once, and never again."""

import torch

from entroshape.models import load_model


def write_untied_model(path, *, chat=False):
    """The bundled model with an output head of its own; ``chat``: with the chat template that verl asks for."""
    model, tokenizer = load_model("countdown-tiny")
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    if chat:
        tokenizer.chat_template = "{{ bos_token }} {{ messages[0]['content'] }}"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return tokenizer
