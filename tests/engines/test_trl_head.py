"""The output layer in tiles gives what TRL's own fused forward pass gives, and steps aside where it cannot."""

import pytest
import torch
from tiny import even_sum, rows, tiny_dataset, tiny_model, tiny_tokenizer, tiny_trainer
from torch import nn
from trl import GRPOConfig, GRPOTrainer

from entroshape.engines.trl.speed import tile_head


def batch(seed=0):
    """Prompts padded on the left, completions of several lengths, one of them empty."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 23, (4, 12), generator=g)
    mask = torch.ones_like(ids)
    mask[1, :3] = mask[2, 9:] = mask[3, 5:] = 0
    return ids, mask, 7


def trl_trainer(tmp_path, model, temperature):
    args = GRPOConfig(
        str(tmp_path), use_cpu=True, bf16=False, num_generations=4, per_device_train_batch_size=4,
        temperature=temperature, report_to="none",
    )  # fmt: skip
    return GRPOTrainer(
        model=model,
        processing_class=tiny_tokenizer(),
        reward_funcs=even_sum,
        train_dataset=tiny_dataset(),
        args=args,
    )


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


def loss_and_gradients(trainer, ids, mask, kept):
    logps, entropies, _ = GRPOTrainer._get_per_token_logps_and_entropies(
        trainer, trainer.model, ids, mask, kept, compute_entropy=True
    )
    live = mask[:, -kept:].bool()
    upstream = torch.linspace(-1, 1, kept) * (torch.arange(4) != 1)[:, None]  # a row without a gradient
    trainer.model.zero_grad()
    (logps * upstream)[live].sum().backward()
    grads = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    return logps[live].detach(), entropies[live].detach(), grads


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("change", [lambda model: model, tied, biased], ids=["untied", "tied", "biased"])
def test_log_probabilities_entropies_and_gradients_are_trls(tmp_path, change, temperature):
    found = []
    for ours in (False, True):
        trainer = trl_trainer(tmp_path, change(tiny_model()), temperature)
        if ours:
            assert tile_head(trainer.model, temperature)
        found.append(loss_and_gradients(trainer, *batch()))
    (logps, entropies, grads), (own_logps, own_entropies, own_grads) = found
    torch.testing.assert_close(own_logps, logps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(own_entropies, entropies, atol=1e-5, rtol=1e-5)
    assert own_grads.keys() == grads.keys()
    for name, gradient in grads.items():
        torch.testing.assert_close(own_grads[name], gradient, atol=1e-5, rtol=1e-4)


def calls_of_ours(trainer, monkeypatch):
    from entroshape.engines.trl import speed

    calls = []
    original = speed.linear_logprob_and_entropy
    monkeypatch.setattr(
        speed, "linear_logprob_and_entropy", lambda *a, **k: calls.append(len(a[0])) or original(*a, **k)
    )
    output = trainer._generate_and_score_completions(rows(trainer))
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, output).backward()
    return calls, output


def test_the_engine_uses_it_for_the_tokens_of_completions_alone(tmp_path, monkeypatch):
    calls, output = calls_of_ours(tiny_trainer(tmp_path, "gtpo"), monkeypatch)
    assert calls[-1] == int(output["completion_mask"].sum())


@pytest.mark.parametrize(
    "options", [{"entropy_coef": 0.01}, {"cast_lm_head_to_fp32": True}], ids=["entropy bonus", "head in float32"]
)
def test_it_steps_aside_where_trls_own_is_needed(tmp_path, monkeypatch, options):
    calls, _ = calls_of_ours(tiny_trainer(tmp_path, "gtpo", **options), monkeypatch)
    assert calls == []


def test_it_steps_aside_where_logits_are_changed_after_the_output_layer(tmp_path):
    model = tiny_model()
    model.config.final_logit_softcapping = 5.0
    trainer = trl_trainer(tmp_path, model, 1.0)
    assert not tile_head(trainer.model, 1.0)


def test_an_adapted_model_uses_it_beside_its_frozen_output_layer(tmp_path, monkeypatch):
    from peft import LoraConfig

    options = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    calls, output = calls_of_ours(tiny_trainer(tmp_path, "gtpo", peft_config=options), monkeypatch)
    assert calls[-1] == int(output["completion_mask"].sum())
