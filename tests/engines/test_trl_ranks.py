"""Two gloo processes: a group split over two ranks gets the credit, and makes the update, that it would on one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import even_sum_of_even_prompts, tiny_model, tiny_tokenizer

from entroshape import Rollouts
from entroshape.methods import build_method

pytestmark = pytest.mark.slow


def two_ranks(folder, method, dynamic):
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(here / "ranks_child.py"), str(folder), method, dynamic],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]


def live(rows):
    """A response's own values, whatever it is padded to."""
    return [row[mask.bool()] for row, mask in zip(*rows, strict=True)]


def gradient_of_one_rank(seen, method):
    """Of the method's surrogate over the rows of both ranks, at the weights that sampled them."""
    model, tokenizer, method = tiny_model(), tiny_tokenizer(), build_method(method)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert torch.equal(before, seen["weights"])
    rows = seen["rows"]
    prompts = tokenizer(seen["prompts"], return_tensors="pt", padding=True)
    ids = torch.cat([prompts["input_ids"], rows["completion_ids"]], dim=1)
    mask = torch.cat([prompts["attention_mask"], rows["completion_mask"]], dim=1)
    start = prompts["input_ids"].shape[1]
    logits = model(input_ids=ids, attention_mask=mask).logits[:, start - 1 : -1]
    logprobs = logits.log_softmax(-1).gather(2, rows["completion_ids"][:, :, None])[:, :, 0]
    credit = method.assign(
        Rollouts(
            rewards=seen["rewards"], entropies=rows["entropies"], mask=rows["completion_mask"], group=seen["group"]
        )
    )
    method.surrogate(logprobs, logprobs.detach(), credit.advantages, credit.loss_mask)[0].backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "dapo_forking"])
def test_a_group_over_two_ranks_gets_the_credit_and_the_update_of_one_rank(tmp_path, method):
    ranks = two_ranks(tmp_path, method, "plain")
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"])
    widths = set()
    for first, second in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True):
        locals_ = [first["local"], second["local"]]
        widths.add(tuple(local["completion_ids"].shape[1] for local in locals_))
        assert [len(local["completion_ids"]) for local in locals_] == [6, 6]
        assert first["group"].tolist() == [0] * 4 + [1] * 4 + [2] * 4  # rows 4-5 on one rank, 6-7 on the other
        rows = first["rows"]
        for name in rows:
            assert torch.equal(rows[name], second["rows"][name])

        whole = build_method(method).assign(
            Rollouts(
                rewards=first["rewards"],
                entropies=rows["entropies"],
                mask=rows["completion_mask"],
                group=first["group"],
            )
        )
        for rank, local in enumerate(locals_):
            mine = slice(6 * rank, 6 * rank + 6)
            width = local["completion_ids"].shape[1]
            expected = whole.advantages[mine]
            expected = expected[:, :width] if expected.ndim == 2 else expected
            assert torch.equal(local["advantages"], expected)
            assert int(local["num_items_in_batch"]) == int(whole.loss_mask.sum())
            if "tool_mask" in local:
                assert torch.equal(local["tool_mask"].bool(), whole.loss_mask[mine, :width])
            own = live((local["completion_ids"], local["completion_mask"]))
            gathered = live((rows["completion_ids"][mine], rows["completion_mask"][mine]))
            assert all(torch.equal(a, b) for a, b in zip(own, gathered, strict=True))
    assert any(a != b for a, b in widths), "both ranks were padded to the same length: the test shows nothing"

    first, second = ranks[0]["seen"][:2]
    step = (second["weights"] - first["weights"]) / -0.1
    torch.testing.assert_close(step, gradient_of_one_rank(first, method), atol=1e-5, rtol=1e-3)

    means = [torch.cat([tensor.flatten() for tensor in rank["mean"].values()]) for rank in ranks]
    assert torch.equal(*means)
    start, *after = [*(seen["weights"] for seen in ranks[0]["seen"]), ranks[0]["weights"]]
    assert len(after) == 3
    for weights in after:
        start = 0.5 * start + 0.5 * weights
    torch.testing.assert_close(means[1], start)


def test_refills_run_in_lockstep_on_two_ranks(tmp_path):
    ranks = two_ranks(tmp_path, "gtpo", "dynamic")
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"])
    assert sum(row["entroshape/refills"] for row in ranks[0]["logged"]) > 0
    for first, second in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True):
        assert first["prompts"] == second["prompts"]
        assert torch.equal(first["rewards"], second["rewards"])
        for rank, local in enumerate([first["local"], second["local"]]):
            mine = slice(6 * rank, 6 * rank + 6)
            own = live((local["completion_ids"], local["completion_mask"]))
            rows = live((first["rows"]["completion_ids"][mine], first["rows"]["completion_mask"][mine]))
            assert all(torch.equal(a, b) for a, b in zip(own, rows, strict=True))
            assert local["prompt_mask"][:, -1].all()  # padded on the left, from whichever rank and round
            read = live((local["prompt_ids"], local["prompt_mask"]))
            assert [tiny_tokenizer().decode(ids) for ids in read] == first["prompts"][mine]
        numbers = [int(prompt.split()[0]) for prompt in first["prompts"]]
        again = even_sum_of_even_prompts(None, first["completions"], numbers)
        assert first["rewards"].tolist() == again
        for group in range(3):
            assert len(set(first["prompts"][4 * group : 4 * group + 4])) == 1
