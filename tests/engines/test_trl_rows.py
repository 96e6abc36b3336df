"""Micro-batches sorted by length: less padding, the same rows, the same updates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_trainer

from entroshape.engines.trl.speed import by_length


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


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "dapo_forking"])
def test_sorting_changes_no_update(tmp_path, method, monkeypatch):
    """Two updates of two micro-batches each, sorted and not: the same weights. Lengths differ, so that it matters."""
    weights, widths = [], []
    for window in ("sorted", "as sampled"):
        trainer = tiny_trainer(
            tmp_path,
            method,
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
        if window == "as sampled":
            monkeypatch.setattr(trainer, "_may_be_sorted", lambda inputs: False)
        trainer.train()
        widths.append([tuple(batch["completion_mask"].shape) for batch in trainer._buffered_inputs])
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    assert sum(b * t for b, t in widths[0]) < sum(b * t for b, t in widths[1])
    torch.testing.assert_close(weights[0], weights[1], atol=2e-6, rtol=1e-3)
