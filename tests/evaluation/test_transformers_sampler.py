import random

import numpy as np
import pytest
import torch
from evaluation_inputs import WORDS, tiny_model, tiny_tokenizer

from entroshape.evaluation import sample_completions, transformers_sampler
from entroshape.evaluation.sampler import plan_batches

pytestmark = pytest.mark.slow

PROMPTS = ["one", "two three one", "one two", "three three"]
OPTIONS = {"samples": 4, "max_new_tokens": 6, "batch_size": 8, "seed": 3}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def test_the_global_random_state_is_neither_read_nor_changed(model, tokenizer):
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = sample_completions(model, tokenizer, PROMPTS, **OPTIONS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()
    torch.manual_seed(2)
    assert sample_completions(model, tokenizer, PROMPTS, **OPTIONS) == first


def test_the_global_random_state_survives_an_error(model, tokenizer, monkeypatch):
    def fail(**_):
        torch.rand(1)
        raise RuntimeError("no")

    monkeypatch.setattr(model, "generate", fail)
    monkeypatch.setattr(transformers_sampler, "unsupported", lambda model: "it is a test")
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        sample_completions(model, tokenizer, PROMPTS, **OPTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_other_seeds_give_other_completions(model, tokenizer):
    first = sample_completions(model, tokenizer, PROMPTS, **OPTIONS)
    assert sample_completions(model, tokenizer, PROMPTS, **{**OPTIONS, "seed": 4}) != first


def test_samples_of_a_prompt_and_batches_are_drawn_apart(model, tokenizer):
    same = sample_completions(model, tokenizer, ["one"] * 8, samples=4, max_new_tokens=6, batch_size=4, seed=0)
    assert len({tuple(answer.text for answer in answers) for answers in same}) == 8
    assert all(len({answer.text for answer in answers}) > 1 for answers in same)


def test_modes_of_all_modules_are_restored_and_dropout_is_off(model, tokenizer):
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    seen = []
    handle = model.model.layers[1].register_forward_hook(lambda module, *_: seen.append(module.training))
    try:
        sample_completions(model, tokenizer, PROMPTS, **OPTIONS)
        assert [module.training for module in model.modules()] == modes
        assert not any(seen)
    finally:
        handle.remove()
        model.train()


def test_lengths_cuts_and_entropies_are_those_of_the_sampled_tokens(model, tokenizer):
    # A vocabulary of words: the text gives the tokens back.
    answers = sample_completions(model, tokenizer, ["two three one"], **{**OPTIONS, "samples": 24, "temperature": 1.7})
    model.eval()
    prompt = tokenizer("two three one")["input_ids"]
    checked = 0
    for answer in answers[0]:
        words = tokenizer(answer.text)["input_ids"] if answer.text else []
        tokens = words if answer.cut else [*words, 1]
        if len(tokens) != answer.length:
            continue  # a sampled <pad> is missing from the text
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        entropy = torch.distributions.Categorical(logits=logits / 1.7).entropy().mean().item()
        assert answer.entropy == pytest.approx(entropy, abs=1e-5)
        assert answer.length == len(tokens) <= 6
        assert not answer.cut or answer.length == 6
        checked += 1
    model.train()
    assert checked > 5
    assert {answer.cut for answer in answers[0]} == {True, False}


def test_left_padding_changes_no_distribution(model, tokenizer):
    """Greedy by a near-zero temperature: the same answers beside a longer prompt and alone."""
    options = {**OPTIONS, "samples": 1, "temperature": 1e-4}
    together = sample_completions(model, tokenizer, PROMPTS, **options)
    for prompt, answers in zip(PROMPTS, together, strict=True):
        alone = sample_completions(model, tokenizer, [prompt], **options)[0]
        assert alone[0].text == answers[0].text


def test_the_whole_support_is_sampled_whatever_the_model_configures(tokenizer):
    """A model shipped with narrow sampling settings is drawn from as if it had none."""
    plain, narrow = tiny_model(), tiny_model()
    for name, value in {
        "top_k": 1, "top_p": 0.1, "min_p": 0.9, "typical_p": 0.1, "repetition_penalty": 5.0, "no_repeat_ngram_size": 1,
        "epsilon_cutoff": 0.4, "temperature": 0.01,
    }.items():  # fmt: skip
        setattr(narrow.generation_config, name, value)
    assert sample_completions(narrow, tokenizer, PROMPTS, **OPTIONS) == sample_completions(
        plain, tokenizer, PROMPTS, **OPTIONS
    )


def test_first_tokens_follow_the_models_distribution(model, tokenizer):
    answers = sample_completions(model, tokenizer, ["one"], samples=4000, max_new_tokens=1, batch_size=1000, seed=0)[0]
    with torch.no_grad():
        expected = model.eval()(torch.tensor([[4]])).logits[0, -1].softmax(-1)
    model.train()
    for i in (2, 3, 4, 5, 6):
        share = np.mean([answer.text == WORDS[i] for answer in answers])
        assert share == pytest.approx(expected[i].item(), abs=0.03)


def test_batches_hold_like_lengths_and_every_sample_once():
    batches = plan_batches([1, 5, 2, 5], samples=3, batch_size=4, seed=0)
    assert [len(batch.prompts) for batch in batches] == [4, 4, 4]
    rows = [i for batch in batches for i in batch.prompts]
    assert rows == [1, 1, 1, 3, 3, 3, 2, 2, 2, 0, 0, 0]


def test_no_two_batches_share_a_seed():
    plans = [plan_batches([1] * 50, samples=1, batch_size=1, seed=seed) for seed in range(4)]
    seeds = [batch.seed for plan in plans for batch in plan]
    assert len(set(seeds)) == len(seeds) == 200


def test_progress_counts_responses_up_to_all_of_them(model, tokenizer):
    seen = []
    sample_completions(
        model, tokenizer, PROMPTS, **{**OPTIONS, "batch_size": 6}, progress=lambda *done: seen.append(done)
    )
    assert seen == [(6, 16), (12, 16), (16, 16)]


def test_conversations_go_through_the_chat_template(model, tokenizer):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}three"
    chat = sample_completions(model, tokenizer, [[{"role": "user", "content": "two"}]], **OPTIONS)
    assert chat == sample_completions(model, tokenizer, ["two three"], **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1; got 0"),
        ({"max_new_tokens": True}, "max_new_tokens must be"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"temperature": -0.1}, "temperature must be"),
    ],
)
def test_options_out_of_range_are_refused(model, tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        sample_completions(model, tokenizer, PROMPTS, **{**OPTIONS, **options})


def test_a_prompt_without_tokens_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match=r"prompts\[1\] must hold at least one token; got ''"):
        sample_completions(model, tokenizer, ["one", ""], **OPTIONS)
