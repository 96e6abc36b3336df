"""The exponential mean of the weights in TRL's trainers: against a loop, over a resume, put into the model and back."""

import math
import shutil

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from tiny import even_sum, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.weights import EMACallback

pytestmark = pytest.mark.slow


class History(TrainerCallback):
    """The weights before training and after each optimizer update."""

    def __init__(self):
        self.weights = []

    def on_train_begin(self, args, state, control, model, **kwargs):
        self.weights.append(copied(model))

    def on_step_end(self, args, state, control, model, **kwargs):
        self.weights.append(copied(model))


def copied(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def trainer_with(callbacks, output, *, model=None, peft_config=None, **options):
    return ShapedGRPOTrainer(
        model or tiny_model(),
        even_sum,
        tiny_config(output, **{"max_steps": 4, "learning_rate": 1e-2, **options}),
        tiny_dataset(),
        processing_class=tiny_tokenizer(),
        callbacks=callbacks,
        peft_config=peft_config,
    )


def looped_mean(weights, decay):
    """The definition, with Python's floats: mean <- decay mean + (1 - decay) weights."""
    mean = weights[0].double().flatten().tolist()
    for after in weights[1:]:
        mean = [decay * m + (1 - decay) * w for m, w in zip(mean, after.double().flatten().tolist(), strict=True)]
    return mean


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_the_mean_is_the_definition_over_all_updates_from_the_start(tmp_path, decay):
    mean, history = EMACallback(decay), History()
    trainer_with([mean, history], tmp_path).train()
    assert len(history.weights) == 5
    assert not equal(history.weights[0], history.weights[-1])
    for name, tensor in mean.weights.items():
        expected = looped_mean([weights[name] for weights in history.weights], decay)
        assert tensor.flatten().tolist() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_half_of_the_share_of_earlier_weights_is_gone_after_the_half_life_of_the_docstring():
    for decay, updates in ((0.98, 34), (0.99, 69), (0.999, 693)):
        assert f"{updates} for {decay}" in EMACallback.__doc__
        assert math.log(0.5) / math.log(decay) == pytest.approx(updates, abs=0.5)


def test_the_mean_does_not_change_training(tmp_path):
    alone, beside = History(), History()
    trainer_with([alone], tmp_path / "alone").train()
    trainer_with([EMACallback(0.9), beside], tmp_path / "beside").train()
    assert all(map(equal, alone.weights, beside.weights))


def test_it_works_in_trls_own_trainer(tmp_path):
    mean = EMACallback(0.5)
    options = tiny_config(tmp_path).to_dict()
    kept = ("per_device_train_batch_size", "num_generations", "max_completion_length", "use_cpu", "save_strategy")
    args = GRPOConfig(str(tmp_path), **{name: options[name] for name in kept}, max_steps=2, bf16=False, report_to=[])
    trainer = GRPOTrainer(
        tiny_model(), even_sum, args, tiny_dataset(), processing_class=tiny_tokenizer(), callbacks=[mean]
    )
    before = copied(trainer.model)
    trainer.train()
    with mean.applied():
        trainer.save_model(str(tmp_path / "mean"))
    saved = load_file(tmp_path / "mean/model.safetensors")
    assert equal({name: saved[name] for name in mean.weights}, mean.weights)
    assert not equal(before, mean.weights)


def test_the_model_computes_with_the_mean_inside_and_has_its_own_bits_after_it_even_after_an_error(tmp_path):
    mean = EMACallback(0.9)
    trainer = trainer_with([mean], tmp_path)
    trainer.train()
    own, tokens = copied(trainer.model), torch.arange(3, 9)[None]
    logits = trainer.model(tokens).logits
    with mean.applied():
        inside = trainer.model(tokens).logits
        assert equal(copied(trainer.model), mean.weights)
        trainer.save_model(str(tmp_path / "mean"))
    assert torch.equal(trainer.model(tokens).logits, logits)
    with pytest.raises(KeyError), mean.applied():
        raise KeyError
    assert equal(copied(trainer.model), own)
    assert not torch.equal(inside, logits)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "mean", dtype=torch.float32)
    assert torch.equal(loaded(tokens).logits, inside)


def test_small_changes_of_bfloat16_weights_are_kept_in_the_mean(tmp_path):
    model = tiny_model().to(torch.bfloat16)
    mean, history = EMACallback(0.999), History()
    trainer_with([mean, history], tmp_path, model=model, max_steps=2, bf16=True, learning_rate=1e-2).train()
    name = "model.embed_tokens.weight"
    assert mean.weights[name].dtype == torch.float32
    start, moved = history.weights[0][name], history.weights[-1][name] != history.weights[0][name]
    assert moved.any()
    assert (mean.weights[name] != start.float())[moved].all()


@pytest.mark.parametrize("lora", [False, True])
def test_a_resumed_trainer_has_the_mean_of_one_that_was_never_stopped(tmp_path, lora):
    def trained(output, resume=None, **options):
        mean = EMACallback(0.9)
        peft = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
        trainer = trainer_with(
            [mean], tmp_path / output, peft_config=peft, save_strategy="steps", save_steps=2, **options
        )
        trainer.train(resume_from_checkpoint=resume)
        return mean, copied(trainer.model)

    whole, weights = trained("whole")
    shutil.copytree(tmp_path / "whole/checkpoint-2", tmp_path / "cut/checkpoint-2")
    resumed, again = trained("cut", resume=True)
    assert equal(weights, again)
    assert equal(whole.weights, resumed.weights)
    assert whole.weights.keys() == weights.keys()
    if lora:
        assert all(".lora_" in name for name in whole.weights)


def test_a_checkpoint_without_this_mean_is_not_resumed(tmp_path):
    def resume(decay):
        trainer = trainer_with([EMACallback(decay)], tmp_path, save_strategy="steps", save_steps=2)
        trainer.train(resume_from_checkpoint=True)

    trainer_with([EMACallback(0.9)], tmp_path, save_strategy="steps", save_steps=2, max_steps=2).train()
    file = tmp_path / "checkpoint-2/ema.safetensors"
    with pytest.raises(ValueError, match=r"decay must be that of .*ema.safetensors, 0.9; got 0.99"):
        resume(0.99)
    whole = load_file(file)
    save_file(dict(list(whole.items())[1:]), file, metadata={"decay": "0.9"})
    with pytest.raises(ValueError, match=r"ema.safetensors lacks 1 of the weights in the model: "):
        resume(0.9)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"ema.safetensors cannot be loaded: "):
        resume(0.9)
    file.unlink()
    with pytest.raises(ValueError, match=r"checkpoint-2 has no ema.safetensors: this run was not trained with a mean"):
        resume(0.9)


@pytest.mark.parametrize("decay", [0, 1, 1.5, -0.1, float("nan"), True, "0.9", None])
def test_a_decay_that_gives_no_mean_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay must be a finite number in \(0, 1\); got "):
        EMACallback(decay)


def test_before_training_there_is_no_mean():
    mean = EMACallback(0.9)
    with pytest.raises(RuntimeError, match="the mean exists once training has begun"):
        mean.weights  # noqa: B018
    with pytest.raises(RuntimeError, match="the mean exists once training has begun"), mean.applied():
        pass
