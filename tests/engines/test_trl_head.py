"""The output layer in tiles gives what TRL's own fused forward pass gives, and steps aside where it cannot."""

import pytest
import torch
from tiny import tiny_model, unmoved
from torch import nn
from trl.trainer.utils import add_fused_lm_head

from entroshape.engines.trl import speed
from entroshape.engines.trl.speed import tile_head

pytestmark = pytest.mark.slow


def batch(seed=0):
    """Prompts padded on the left, completions of several lengths, one of them empty."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 23, (4, 12), generator=g)
    mask = torch.ones_like(ids)
    mask[1, :3] = mask[2, 9:] = mask[3, 5:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :5] = -100
    return ids, mask, labels


def tied(model):
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    return model


def biased(model):
    head = nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=True)
    torch.manual_seed(3)
    head.weight.data.copy_(model.lm_head.weight)
    head.bias.data.normal_()
    model.lm_head = head
    return model


def loss_and_gradients(model, ids, mask, labels):
    """What TRL asks of the model, and the gradients of a weighted sum of the log-probabilities."""
    output = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    upstream = torch.linspace(-1, 1, ids.shape[1] - 1) * (torch.arange(4) != 1)[:, None]  # a row without a gradient
    live = labels[:, 1:] != -100
    (output.log_probs * upstream)[live].sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return output.log_probs[live].detach(), output.entropy[live].detach(), grads


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("change", [lambda model: model, tied, biased], ids=["untied", "tied", "biased"])
def test_log_probabilities_entropies_and_gradients_are_trls(change, temperature):
    found = []
    for ours in (False, True):
        model = change(tiny_model())
        add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
        if ours:
            assert tile_head(model, temperature)
        found.append(loss_and_gradients(model, *batch()))
    (logps, entropies, grads), (own_logps, own_entropies, own_grads) = found
    torch.testing.assert_close(own_logps, logps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(own_entropies, entropies, atol=1e-5, rtol=1e-5)
    assert own_grads.keys() == grads.keys()
    for name, gradient in grads.items():
        torch.testing.assert_close(own_grads[name], gradient, atol=1e-5, rtol=1e-4)


def calls_of_ours(tmp_path, monkeypatch, **options):
    """The numbers of tokens that our output layer was asked for in one step, and the step's micro-batch."""
    calls = []
    original = speed.linear_logprob_and_entropy
    monkeypatch.setattr(
        speed, "linear_logprob_and_entropy", lambda *a, **k: calls.append(len(a[0])) or original(*a, **k)
    )
    trainer, _ = unmoved(tmp_path, **options)
    (batch,) = trainer.micro_batches
    return calls, batch


def test_the_engine_uses_it_for_the_tokens_of_completions_alone(tmp_path, monkeypatch):
    calls, batch = calls_of_ours(tmp_path, monkeypatch)
    assert calls[-1] == int(batch["completion_mask"].sum())


@pytest.mark.parametrize(
    "options", [{"entropy_coef": 0.01}, {"cast_lm_head_to_fp32": True}], ids=["entropy bonus", "head in float32"]
)
def test_it_steps_aside_where_trls_own_is_needed(tmp_path, monkeypatch, options):
    calls, _ = calls_of_ours(tmp_path, monkeypatch, **options)
    assert calls == []


def test_it_steps_aside_where_logits_are_changed_after_the_output_layer():
    model = tiny_model()
    model.config.final_logit_softcapping = 5.0
    assert not tile_head(model, 1.0)


def test_an_adapted_model_uses_it_beside_its_frozen_output_layer(tmp_path, monkeypatch):
    from peft import LoraConfig

    options = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    calls, batch = calls_of_ours(tmp_path, monkeypatch, peft_config=options)
    assert calls[-1] == int(batch["completion_mask"].sum())
