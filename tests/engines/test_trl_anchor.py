"""The anchor to the weights before training in TRL's trainer: what an update leaves, with LoRA, and over a resume."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig
from tiny import even_sum, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer
from transformers import TrainerCallback

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.weights import AnchorCallback

pytestmark = pytest.mark.slow


class History(TrainerCallback):
    """The weights before training, after each optimizer update, and after the anchor's pull that follows it."""

    def __init__(self):
        self.updated, self.pulled = [], []

    def on_train_begin(self, args, state, control, model, **kwargs):
        self.start = copied(model)

    def on_optimizer_step(self, args, state, control, model, **kwargs):
        self.updated.append(copied(model))

    def on_step_end(self, args, state, control, model, **kwargs):
        self.pulled.append(copied(model))


def copied(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def trainer_with(callbacks, output, *, model=None, peft_config=None, **options):
    return ShapedGRPOTrainer(
        model or tiny_model(),
        even_sum,
        tiny_config(output, **{"max_steps": 3, "learning_rate": 1e-2, **options}),
        tiny_dataset(),
        processing_class=tiny_tokenizer(),
        callbacks=callbacks,
        peft_config=peft_config,
    )


def lora(**options):
    return LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **options)


def test_every_update_is_followed_by_a_pull_of_the_rate_towards_the_start(tmp_path):
    history = History()
    trainer_with([history, AnchorCallback(0.25)], tmp_path).train()
    assert len(history.pulled) == 3
    for updated, pulled in zip(history.updated, history.pulled, strict=True):
        assert not equal(updated, pulled)
        for name, start in history.start.items():
            expected = updated[name].double() - 0.25 * (updated[name].double() - start.double())
            torch.testing.assert_close(pulled[name].double(), expected, atol=1e-7, rtol=1e-6)


def test_weights_at_the_start_stay_there_bit_for_bit(tmp_path):
    history = History()
    trainer_with([history, AnchorCallback(0.3)], tmp_path, learning_rate=0.0).train()
    assert equal(history.pulled[-1], history.start)


def test_an_adapters_contribution_shrinks_by_the_rate(tmp_path):
    history = History()
    trainer_with([history, AnchorCallback(0.25)], tmp_path, peft_config=lora()).train()
    updated, pulled = history.updated[-1], history.pulled[-1]
    factors = [name for name in updated if ".lora_B." in name]
    assert factors
    for name in factors:
        other = name.replace(".lora_B.", ".lora_A.")
        contribution = updated[name] @ updated[other]
        assert contribution.any()
        torch.testing.assert_close(pulled[name] @ pulled[other], 0.75 * contribution, atol=1e-9, rtol=1e-5)
        assert torch.equal(pulled[other], updated[other])


@pytest.mark.parametrize("peft_config", [None, lora()], ids=["full", "lora"])
def test_a_resumed_trainer_is_pulled_to_the_same_start(tmp_path, peft_config):
    def trained(output, resume=None):
        trainer = trainer_with(
            [AnchorCallback(0.1)], tmp_path / output, max_steps=4, save_strategy="steps", save_steps=2,
            peft_config=peft_config,
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        return copied(trainer.model)

    whole = trained("whole")
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "cut/checkpoint-2")
    assert equal(trained("cut", resume=True), whole)


def test_a_checkpoint_of_another_anchor_is_not_resumed(tmp_path):
    def resume(rate=0.1, model=None):
        trainer = trainer_with([AnchorCallback(rate)], tmp_path, model=model, save_strategy="steps", save_steps=2)
        trainer.train(resume_from_checkpoint=True)

    trainer_with([AnchorCallback(0.1)], tmp_path, save_strategy="steps", save_steps=2, max_steps=2).train()
    file = tmp_path / "checkpoint-2/anchor.json"
    with pytest.raises(ValueError, match=r"rate must be that of .*anchor.json, 0.1; got 0.2"):
        resume(0.2)
    with pytest.raises(ValueError, match=r"anchor.json is of other weights before training than the model's"):
        resume(model=tiny_model(seed=1))
    late = trainer_with([], tmp_path)
    late.add_callback(AnchorCallback(0.1))
    with pytest.raises(ValueError, match="AnchorCallback must be in the trainer's callbacks"):
        late.train(resume_from_checkpoint=True)
    content = json.loads(file.read_text())
    file.write_text(json.dumps([content]))
    with pytest.raises(ValueError, match=r"anchor.json must hold a rate and a checksum; got \["):
        resume()
    file.unlink()
    with pytest.raises(ValueError, match=r"checkpoint-2 has no anchor.json: this run was not trained with an anchor"):
        resume()


def test_what_the_anchor_could_not_do_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"needs weights in float32, because torch\.bfloat16 rounds small pulls away"):
        trainer_with([AnchorCallback(0.1)], tmp_path, model=tiny_model().to(torch.bfloat16), bf16=True)
    with pytest.raises(ValueError, match="needs LoRA without magnitudes"):
        trainer_with([AnchorCallback(0.1)], tmp_path, peft_config=lora(use_dora=True))
    with pytest.raises(ValueError, match="needs an adapter that contributes nothing before training"):
        trainer_with([AnchorCallback(0.1)], tmp_path, peft_config=lora(init_lora_weights=False))
    for rate in (0, 1, -0.1, float("inf"), None, True):
        with pytest.raises(ValueError, match=r"rate must be a finite number in \(0, 1\); got "):
            AnchorCallback(rate)
