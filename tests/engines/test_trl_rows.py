"""Micro-batches sorted by length: less padding, the same rows, the same updates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import Watched, tiny_trainer

from entroshape.engines.trl import speed
from entroshape.engines.trl.speed import by_length

pytestmark = pytest.mark.slow


def micro_batches(lengths, prompts, size):
    """Rows that can be told apart, of the given completion and prompt lengths, padded to one width."""
    width, left = max(lengths), max(prompts)
    rows = range(len(lengths))
    every = {
        "prompt_ids": torch.tensor([[0] * (left - prompts[i]) + [100 + i] * prompts[i] for i in rows]),
        "prompt_mask": torch.tensor([[0] * (left - prompts[i]) + [1] * prompts[i] for i in rows]),
        "completion_ids": torch.tensor([[200 + i] * lengths[i] + [0] * (width - lengths[i]) for i in rows]),
        "completion_mask": torch.tensor([[1] * lengths[i] + [0] * (width - lengths[i]) for i in rows]),
        "advantages": torch.arange(len(lengths)).float(),
    }
    whole = {"num_items_in_batch": torch.tensor(sum(lengths)), "nothing": None}
    return [
        {name: value[start : start + size] for name, value in every.items()} | whole
        for start in range(0, len(lengths), size)
    ]


@st.composite
def batches(draw):
    size, windows, window = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    count = size * windows * window
    lengths = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    prompts = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    return micro_batches(lengths, prompts, size), window


def live(batch):
    """Rows as sets of what counts: their advantage, their tokens before and after."""
    return [
        (
            float(batch["advantages"][i]),
            batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist(),
            batch["completion_ids"][i][batch["completion_mask"][i].bool()].tolist(),
        )
        for i in range(len(batch["advantages"]))
    ]


@given(batches())
def test_each_window_keeps_its_rows_whole(made):
    before, window = made
    after = by_length(before, window)
    assert len(after) == len(before)
    for start in range(0, len(before), window):
        old, new = ([row for b in each[start : start + window] for row in live(b)] for each in (before, after))
        assert sorted(old) == sorted(new)
    for old, new in zip(before, after, strict=True):
        assert new["num_items_in_batch"] is old["num_items_in_batch"]
        assert new["nothing"] is None


@given(batches())
def test_padding_never_grows_and_no_micro_batch_is_wider_than_its_longest_row(made):
    before, window = made
    after = by_length(before, window)
    for old, new in zip(before, after, strict=True):
        assert new["completion_ids"].shape[1] == int(new["completion_mask"].sum(dim=1).max())
        assert new["prompt_ids"].shape[1] == int(new["prompt_mask"].sum(dim=1).max())
        assert new["completion_ids"].shape[0] == old["completion_ids"].shape[0]
        assert new["completion_ids"].numel() <= old["completion_ids"].numel()


@given(batches())
def test_rows_of_a_window_are_sorted(made):
    before, window = made
    after = by_length(before, window)
    for start in range(0, len(after), window):
        lengths = [int(n) for b in after[start : start + window] for n in b["completion_mask"].sum(dim=1)]
        assert lengths == sorted(lengths)


def updated(tmp_path, method):
    """Weights after two updates of two micro-batches each, and the cells of those. Lengths differ."""
    trainer = tiny_trainer(
        tmp_path,
        method,
        cls=Watched,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        steps_per_generation=4,
        max_completion_length=48,
        max_steps=2,
        optim="sgd",
        learning_rate=0.05,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
    )
    before = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    trainer.train()
    after = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    return (after - before) / -0.05, sum(batch["completion_mask"].numel() for batch in trainer.micro_batches)


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "grpo_s geometric", "dapo_forking"])
def test_with_speed_switched_off_the_gradients_are_the_same(tmp_path, method, monkeypatch):
    """Plain SGD, so that the change of the weights is the gradients."""
    fast, cells = updated(tmp_path, method)
    monkeypatch.setattr(speed, "tile_head", lambda *_: False)
    monkeypatch.setattr(speed, "by_length", lambda batches, *_, **__: batches)
    monkeypatch.setattr(speed.TokenMeans, "take", lambda *_, **__: None)
    plain, more_cells = updated(tmp_path, method)
    assert cells < more_cells  # or nothing was sorted
    assert fast.abs().max() > 1e-3
    torch.testing.assert_close(fast, plain, atol=4e-5, rtol=1e-3)
