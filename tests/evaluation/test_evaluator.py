import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from evaluation_inputs import tiny_model, tiny_task, tiny_tokenizer

from entroshape.evaluation import evaluate, evaluation_metrics, headline_ks, paired_changes, pass_at_k, pass_curve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result():
    return evaluate(tiny_model(), tiny_tokenizer(), tiny_task(), samples=16)


def test_each_problem_has_its_samples_in_order(result):
    assert [(row["problem"], row["sample"]) for row in result.rows] == [
        (f"p{problem}", sample) for problem in range(4) for sample in range(16)
    ]
    assert set(result.rows[0]) == {
        "problem", "sample", "prompt", "completion", "reward", "success", "length", "cut", "entropy",
    }  # fmt: skip


def test_each_answer_is_scored_with_its_own_columns(result):
    wanted = {"p0": "even", "p1": "odd", "p2": "two", "p3": "even"}
    for row in result.rows:
        assert row["reward"] == float(wanted[row["problem"]] in row["completion"].split())
        assert row["success"] == (row["reward"] > 0.5)
    assert {row["success"] for row in result.rows} == {True, False}


def test_metrics_are_those_of_the_rows(result):
    success = np.array([row["success"] for row in result.rows]).reshape(4, 16)
    metrics = result.metrics
    assert metrics["mean@16"] == metrics["pass@1"] == pytest.approx(success.mean())
    for k in (1, 4, 16):
        assert metrics[f"pass@{k}"] == pytest.approx(np.mean(pass_at_k(16, success.sum(axis=1), k)))
        assert metrics[f"pass@{k}_low"] <= metrics[f"pass@{k}"] <= metrics[f"pass@{k}_high"]
    assert metrics["length"] == np.mean([row["length"] for row in result.rows])
    assert metrics["share_cut"] == np.mean([row["cut"] for row in result.rows])
    assert 0 < metrics["entropy"] <= np.log(7)
    assert all(isinstance(value, float) for value in metrics.values())


def test_evaluating_again_gives_the_same_rows_and_leaves_training_alone(result):
    model = tiny_model()
    torch.manual_seed(9)
    state = torch.get_rng_state()
    again = evaluate(model, tiny_tokenizer(), tiny_task(), samples=16)
    assert again.rows == result.rows
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_fewer_problems_are_the_first_ones():
    result = evaluate(tiny_model(), tiny_tokenizer(), tiny_task(), samples=2, problems=3)
    assert [row["problem"] for row in result.rows[::2]] == ["p0", "p1", "p2"]
    assert result.metrics["problems"] == 3
    assert "pass@2" in result.metrics
    assert "mean@2" in result.metrics


def test_the_formatter_decides_what_the_model_reads_not_what_is_recorded():
    seen = []
    evaluate(
        tiny_model(), tiny_tokenizer(), tiny_task(), samples=1, prompt_formatter=lambda text: seen.append(text) or "two"
    )
    assert seen == ["one", "two three one", "one two", "three three"]


def test_a_failing_reward_function_is_named():
    def broken(prompts, completions, **columns):
        raise KeyError("answer")

    with pytest.raises(RuntimeError, match="'broken' raised KeyError: 'answer'"):
        evaluate(tiny_model(), tiny_tokenizer(), tiny_task(reward=broken), samples=1)


def test_a_reward_function_that_returns_the_wrong_count_is_named():
    def short(prompts, completions, **columns):
        return [1.0]

    with pytest.raises(ValueError, match="'short' must return one number per completion: expected 4, got 1"):
        evaluate(tiny_model(), tiny_tokenizer(), tiny_task(reward=short), samples=1)


def test_ids_that_repeat_are_refused():
    task = tiny_task()
    test = task.test.remove_columns("id").add_column("id", ["a", "b", "a", "c"])
    with pytest.raises(ValueError, match="must be unique; got 'a' more than once"):
        evaluate(tiny_model(), tiny_tokenizer(), dataclasses.replace(task, test=test), samples=1)


@pytest.mark.parametrize("problems", [0, -1, True, 1.5])
def test_a_number_of_problems_below_1_is_refused(problems):
    with pytest.raises(ValueError, match="problems must be a whole number of at least 1"):
        evaluate(tiny_model(), tiny_tokenizer(), tiny_task(), problems=problems)


def test_metrics_refuse_unequal_numbers_of_samples(result):
    with pytest.raises(ValueError, match=r"same number of completions for each problem; got \[15, 16\]"):
        evaluation_metrics(result.rows[1:])
    with pytest.raises(ValueError, match="got no rows"):
        evaluation_metrics([])


def test_the_curve_goes_through_the_metrics(result):
    curve = pass_curve(result.rows)
    assert [point["k"] for point in curve] == list(range(1, 17))
    for k in headline_ks(16):
        for key, name in (("value", f"pass@{k}"), ("low", f"pass@{k}_low"), ("high", f"pass@{k}_high")):
            assert curve[k - 1][key] == pytest.approx(result.metrics[name])


def test_counting_needs_no_transformers():
    code = "import sys, entroshape.evaluation, entroshape.metrics.aggregation; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_changes_are_paired_by_problem(result):
    """Problems that differ a lot from each other but all change alike: the change is certain though each end is not."""
    before = [{**row, "length": 10 * (i // 16)} for i, row in enumerate(result.rows)]
    after = [{**row, "length": row["length"] + 3} for row in before]
    assert paired_changes(before, after)["length"] == {"value": 3.0, "low": 3.0, "high": 3.0}
    assert paired_changes(before, after)["mean@16"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    other = [{**row, "problem": row["problem"] + "x"} for row in after]
    assert paired_changes(before, other) == {}
