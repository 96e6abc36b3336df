"""The sampling loop: what it samples is the model's distribution, row by row, whatever shares the batch."""

import copy

import numpy as np
import pytest
import torch
from sampling_models import END, MODELS, PROMPTS, VOCABULARY, llama
from scipy.stats import chisquare

from entroshape.sampling import loop
from entroshape.sampling.loop import sample_tokens
from entroshape.sampling.support import unsupported

pytestmark = pytest.mark.slow

OPTIONS = {"max_new_tokens": 12, "temperature": 1.0, "seed": 5, "ends": [END]}


def scored(model, prompts, found, temperature):
    """Log-probabilities and entropies of the sampled tokens, each row alone and in one pass, in float64."""
    model = copy.deepcopy(model).eval().double()
    logprobs, entropies = torch.zeros(2, *found.ids.shape, dtype=torch.float64)
    for row, (prompt, tokens) in enumerate(zip(prompts, found.rows(), strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        logp = (logits / temperature).log_softmax(-1)
        logprobs[row, : len(tokens)] = logp.gather(1, torch.tensor(tokens)[:, None])[:, 0]
        entropies[row, : len(tokens)] = -(logp.exp() * logp).sum(-1)
    return logprobs, entropies


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_recorded_logprobs_and_entropies_are_those_of_a_scoring_pass(name, temperature):
    model = MODELS[name]()
    assert unsupported(model) is None
    prompts = PROMPTS * 3
    found = sample_tokens(model, prompts, **{**OPTIONS, "temperature": temperature})
    logprobs, entropies = scored(model, prompts, found, temperature)
    assert (found.logprobs - logprobs).abs().max() < 1e-4
    assert (found.entropies - entropies).abs().max() < 1e-4
    assert found.logprobs[found.logprobs != 0].std() > 0.1
    assert len(set(found.lengths.tolist())) > 2


def test_sampled_tokens_have_the_frequencies_of_the_distribution():
    """Pairs of tokens: the second is drawn from a cache of repeated prompts."""
    model = llama(vocab_size=6, initializer_range=0.2).eval()
    n = 12_000
    found = sample_tokens(model, [[3, 4]] * n, **{**OPTIONS, "max_new_tokens": 2, "ends": [99]})
    with torch.no_grad():
        first = model(torch.tensor([[3, 4]])).logits[0, -1].double().softmax(-1)
        second = model(torch.tensor([[3, 4, i] for i in range(6)])).logits[:, -1].double().softmax(-1)
    expected = (first[:, None] * second).flatten().numpy() * n
    counts = np.bincount((found.ids[:, 0] * 6 + found.ids[:, 1]).numpy(), minlength=36)
    assert expected.min() > 4
    assert chisquare(counts, expected * n / expected.sum()).pvalue > 1e-3
    # The test has power: a distribution at another temperature is rejected.
    other = (first**1.1 / (first**1.1).sum())[:, None] * second
    assert chisquare(counts, other.flatten().numpy() * n).pvalue < 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_a_row_is_the_same_alone_and_beside_any_others(name):
    model = MODELS[name]()
    together = sample_tokens(model, PROMPTS, **OPTIONS)
    for row, prompt in enumerate(PROMPTS):
        alone = sample_tokens(model, [prompt], first_row=row, **OPTIONS)
        assert alone.rows()[0] == together.rows()[row]
    tail = sample_tokens(model, PROMPTS[2:], first_row=2, **OPTIONS)
    assert tail.rows() == together.rows()[2:]


@pytest.mark.parametrize("name", MODELS)
def test_rows_that_leave_the_batch_change_nothing(name):
    model = MODELS[name]()
    prompts = PROMPTS * 4
    runs = [sample_tokens(model, prompts, compact_at=share, **OPTIONS) for share in (0.01, 0.25, 2.0)]
    for run in runs[1:]:
        assert torch.equal(run.ids, runs[0].ids)
        assert torch.equal(run.lengths, runs[0].lengths)
        assert torch.equal(run.ended, runs[0].ended)
        torch.testing.assert_close(run.logprobs, runs[0].logprobs, atol=1e-5, rtol=0)
        torch.testing.assert_close(run.entropies, runs[0].entropies, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_makes_no_difference_how_many_logits_are_held(temperature, monkeypatch):
    options = {**OPTIONS, "temperature": temperature, "compact_at": 0.1}
    runs = []
    for held in (1, 3 * 24 * VOCABULARY, 2**20):
        monkeypatch.setattr(loop, "HELD", held)
        runs.append(sample_tokens(llama(), PROMPTS * 4, **options))
    for run in runs[1:]:
        assert torch.equal(run.ids, runs[0].ids)
        torch.testing.assert_close(run.logprobs, runs[0].logprobs, atol=1e-6, rtol=0)
        torch.testing.assert_close(run.entropies, runs[0].entropies, atol=1e-6, rtol=0)


def test_finished_rows_do_leave_the_batch_and_equal_prompts_are_read_once():
    model = llama()
    sizes = []
    model.register_forward_pre_hook(lambda *call: sizes.append(tuple(call[2]["input_ids"].shape)), with_kwargs=True)
    sample_tokens(model, PROMPTS * 8, **OPTIONS)
    assert sizes[0] == (4, 5)  # the distinct prompts, padded to the longest
    rows = [rows for rows, _ in sizes[1:]]
    assert rows[0] == 48
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] < 36


@pytest.mark.parametrize("name", MODELS)
def test_temperature_zero_is_transformers_greedy_decoding(name):
    model = MODELS[name]().eval()
    found = sample_tokens(model, PROMPTS, **{**OPTIONS, "temperature": 0.0})
    for prompt, tokens in zip(PROMPTS, found.rows(), strict=True):
        theirs = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, max_new_tokens=12
        )
        assert tokens == theirs[0, len(prompt) :].tolist()
    assert not found.logprobs.any()
    assert not found.entropies.any()


def test_a_low_temperature_approaches_the_greedy_answer_with_the_same_random_numbers():
    model = llama()
    greedy, cold, warm = (
        sample_tokens(model, PROMPTS, **{**OPTIONS, "temperature": t}).rows() for t in (0.0, 1e-3, 1.0)
    )
    assert cold == greedy
    assert warm != greedy
    # Common random numbers: temperatures that hardly differ give rows that hardly differ.
    near = sample_tokens(model, PROMPTS * 8, **{**OPTIONS, "temperature": 1.01}).rows()
    same = sum(a == b for a, b in zip(near, sample_tokens(model, PROMPTS * 8, **OPTIONS).rows(), strict=True))
    assert same > 40


def test_rows_end_at_their_first_end_token_or_at_the_limit():
    found = sample_tokens(llama(), PROMPTS * 4, **{**OPTIONS, "ends": [END, 7]})
    for tokens, ended, ids in zip(found.rows(), found.ended.tolist(), found.ids.tolist(), strict=True):
        assert ended == (tokens[-1] in (END, 7))
        assert not {END, 7} & set(tokens[:-1])
        assert ended or len(tokens) == 12
        assert not any(ids[len(tokens) :])
    assert {True, False} == set(found.ended.tolist())


def test_other_seeds_and_rows_give_other_tokens():
    model = llama()
    first = sample_tokens(model, [[3, 4]] * 8, **OPTIONS)
    assert len({tuple(row) for row in first.rows()}) > 4
    assert sample_tokens(model, [[3, 4]] * 8, **{**OPTIONS, "seed": 6}).rows() != first.rows()


def test_modes_gradients_and_the_global_random_state_are_left_alone():
    model = llama()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    found = sample_tokens(model, PROMPTS, **OPTIONS)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(value.is_inference() for value in vars(found).values())
    model(found.ids, labels=found.ids).loss.backward()


def test_logits_that_are_not_finite_are_an_error():
    model = llama()
    with torch.no_grad():
        model.lm_head.weight[4] = torch.nan
    for temperature in (0.0, 1.0):
        with pytest.raises(RuntimeError, match="logits must be finite to sample from; row 0"):
            sample_tokens(model, PROMPTS, **{**OPTIONS, "temperature": temperature})
    assert model.training


def test_half_precision_is_sampled_with_sums_in_full_precision():
    found = sample_tokens(llama().to(torch.bfloat16), PROMPTS, **OPTIONS)
    assert found.logprobs.dtype == found.entropies.dtype == torch.float32
    assert found.entropies.isfinite().all()
    assert found.entropies.max() <= np.log(VOCABULARY) + 1e-5


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([], {}, "prompts must hold at least one token each"),
        ([[1], []], {}, "prompts must hold at least one token each"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens must be"),
        ([[1]], {"temperature": -1.0}, "temperature must be"),
    ],
)
def test_bad_input_is_refused(prompts, options, message):
    with pytest.raises(ValueError, match=message):
        sample_tokens(llama(), prompts, **{**OPTIONS, **options})
