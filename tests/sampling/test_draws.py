"""Random numbers of rows, and tokens drawn from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entroshape.sampling import draws
from entroshape.sampling.draws import BLOCK, RowNumbers, derived_seed, draw

CPU = torch.device("cpu")


def numbers(seed, rows, count):
    stream = RowNumbers(seed, rows, CPU)
    return torch.stack([stream.next() for _ in range(count)], dim=1)


def test_a_number_depends_on_seed_row_and_position_alone():
    whole = numbers(7, range(6), 2 * BLOCK + 5)
    assert torch.equal(numbers(7, [4, 1], 2 * BLOCK + 5), whole[[4, 1]])
    stream = RowNumbers(7, range(6), CPU)
    for position in range(2 * BLOCK + 5):
        if position == BLOCK - 3:
            stream.keep(torch.tensor([1, 4, 5]))
            whole = whole[[1, 4, 5]]
        assert torch.equal(stream.next(), whole[:, position])


def test_numbers_are_uniform_and_those_of_other_rows_and_seeds_are_independent():
    found = torch.cat([numbers(seed, range(64), BLOCK) for seed in (0, 1, 2**64 - 1)])
    assert found.min() >= 0
    assert found.max() < 1
    assert abs(found.mean() - 0.5) < 0.005
    assert found.flatten().unique().numel() == found.numel()
    correlation = torch.corrcoef(found) - torch.eye(len(found))
    assert correlation.abs().max() < 6 / BLOCK**0.5


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_drawn_token_is_the_first_whose_cumulative_probability_exceeds_the_number(data):
    size = data.draw(st.integers(1, 9))
    logits = data.draw(st.lists(st.floats(-30, 30) | st.just(-np.inf), min_size=size, max_size=size))
    if max(logits) == -np.inf:
        logits[0] = 0.0
    uniform = data.draw(st.floats(0, 1, exclude_max=True))
    temperature = data.draw(st.sampled_from([0.1, 1.0, 3.0]))
    token = int(draw(torch.tensor([logits]), torch.tensor([uniform], dtype=torch.float64), temperature))
    scaled = np.float32(np.array(logits)) / temperature
    mass = np.exp(scaled - scaled.max())
    below, through = mass[:token].sum() / mass.sum(), mass[: token + 1].sum() / mass.sum()
    assert below - 1e-5 <= uniform <= through + 1e-5
    assert mass[token] > 0


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_token_of_probability_zero_is_never_drawn(uniform):
    banned = torch.full((3, 50), -torch.inf)
    banned[0, 20:22], banned[1, 0], banned[2, 49] = 0.0, 3.0, -5.0
    tokens = draw(banned, torch.full((3,), uniform, dtype=torch.float64), 1.0)
    assert banned[torch.arange(3), tokens].isfinite().all()


def test_the_tail_of_a_large_vocabulary_is_drawn_as_often_as_it_should():
    """In float32 sums, 250,000 tokens that follow one of probability .9 would be lost or doubled."""
    logits = torch.zeros(1, 250_001)
    logits[0, 0] = float(np.log(250_000 * 9))
    for uniform, expected in ((0.95, 125_000), (0.9 + 1e-5, 25), (1 - 1e-6, 249_998)):
        token = int(draw(logits, torch.tensor([uniform], dtype=torch.float64), 1.0))
        assert abs(token - expected) <= 4


def test_rows_are_drawn_tile_by_tile_with_the_same_result(monkeypatch):
    torch.manual_seed(0)
    logits, uniform = torch.randn(37, 50), torch.rand(37, dtype=torch.float64)
    whole = draw(logits, uniform, 0.7)
    monkeypatch.setattr(draws, "TILE_CPU", 170)
    assert torch.equal(draw(logits, uniform, 0.7), whole)


def test_derived_seeds_differ_and_fit_64_bits():
    seeds = {derived_seed(a, b, c, 1) for a in range(6) for b in range(6) for c in range(6)}
    assert len(seeds) == 216
    assert all(0 <= seed < 2**64 for seed in seeds)
