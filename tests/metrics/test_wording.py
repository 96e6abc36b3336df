"""One wording for every metric: the same text in the terminal, in report.html and in comparison.html."""

import math
import re
from decimal import Decimal

import pytest
from chromium import needs_browser
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from entroshape.evaluation import evaluation_metrics
from entroshape.experiments import Comparison, parse_arms
from entroshape.experiments.page import page_data as comparison_page_data
from entroshape.experiments.page import write_page
from entroshape.experiments.record import run_record
from entroshape.experiments.table import comparison_table
from entroshape.metrics.wording import credit_number, in_order, wording, worth_showing
from entroshape.report import summary_table, write_report
from entroshape.runs import RunDirectory
from entroshape.training.config import TrainConfig

GRID = [sign * digits * 10.0**power for power in range(-9, 8) for digits in (1, 1.005, 2.5, 9.9995) for sign in (1, -1)]


def evaluation(won, problems=16):
    """Rows of which ``won`` succeed, one sample per problem."""
    return [
        {"problem": f"p{i}", "sample": 0, "prompt": "1 >", "completion": "1", "cut": i % 16 == 0,
         "reward": float(i < won), "success": i < won, "length": 20 + i % 8, "entropy": 0.3335 + 1e-12 * i}
        for i in range(problems)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose figures are ties: 1 of 16, 6.25 %, at the start, and 3 of 16, 18.75 %, at the end."""
    run = RunDirectory.create(tmp_path_factory.mktemp("ties") / "run")
    run.write_config(TrainConfig(steps=2).to_dict())
    for step in (1, 2):
        run.append_metrics({"step": step, "success_rate": 0.0625, "entropy": 0.0625, "loss": -0.0625})
    for step, won in ((0, 1), (2, 3)):
        run.write_evaluation(step, evaluation(won), evaluation_metrics(evaluation(won)))
    return run


@pytest.fixture(scope="module")
def comparison(run):
    arms = parse_arms(["dapo,gtpo"])
    records = [run_record(run, arm, TrainConfig(steps=2)) for arm in arms]
    return Comparison(base=TrainConfig(steps=2), arms=arms, baseline="dapo", records=records)


def printed(table):
    console = Console(width=200, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.slow
def test_terminal_report_and_comparison_say_the_same_of_the_same_figures(run, comparison):
    (_, before), (after_rows, after) = run.read_evaluation(0), run.read_evaluation(2)
    terminal = printed(summary_table(before, after))
    from entroshape.evaluation.display import metrics_table
    from entroshape.evaluation.evaluator import EvaluationResult

    evaluated = printed(metrics_table(EvaluationResult(rows=after_rows, metrics=after)))
    compared = printed(comparison_table(comparison))
    report = write_report(run.path).read_text(encoding="utf-8")
    data = comparison_page_data(comparison)
    assert (wording("mean@1").value(before["mean@1"]), wording("mean@1").value(after["mean@1"])) == ("6.3 %", "18.8 %")
    for text in (terminal, compared, report):
        assert "6.3 %" in text
        assert "18.8 %" in text
        assert not re.search(r"\b(6\.2|18\.7)\b", text)
    assert "18.8 %" in evaluated
    assert data["before"]["mean@1"] == "6.3 %"
    assert data["arms"][0]["after"]["mean@1"] == "18.8 %"
    shown = wording("entropy").value(after["entropy"])
    assert data["arms"][0]["after"]["entropy"] == shown
    assert all(shown in text for text in (terminal, evaluated, compared, report))


@pytest.mark.slow
@needs_browser
def test_the_pages_show_in_a_browser_what_the_terminal_says(run, comparison, browser, tmp_path):
    page = browser.new_page()
    page.goto(write_page(comparison, tmp_path).resolve().as_uri())
    row = page.locator("#table tbody tr").nth(1).all_inner_texts()[0]
    after = comparison.records[0]["after"]
    assert row.split("\t")[2:] == [wording(name).value(after[name]) for name in ("mean@1", "entropy", "length")]
    page.goto(write_report(run.path).resolve().as_uri())
    assert "success rate" not in page.locator(".constant").first.inner_text()  # it is drawn, with the evaluations
    assert "loss -0.0625" in page.locator(".constant").last.inner_text()
    page.close()


@pytest.mark.slow
@needs_browser
def test_the_viewer_writes_tokens_as_the_terminal_does(browser, tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"task": "countdown", "method": "gtpo"})
    values = [*GRID, 0.0]
    row = {
        "step": 1, "group": 0, "prompt": "?", "completion": "a", "tokens": ["a"] * len(values), "token_ids": [],
        "entropy": [], "shaped_reward": values, "advantage": values, "reward": 0.0, "success": False, "gated": False,
    }  # fmt: skip
    run.write_rollouts(1, [row])
    page = browser.new_page()
    page.goto(write_report(run.path).resolve().as_uri())
    labels = page.locator("#tokens td[aria-label]").evaluate_all("cells => cells.map(cell => cell.ariaLabel)")
    page.close()
    assert [label.rpartition(" ")[2] for label in labels] == [
        credit_number(value) for value in run.read_rollouts(1)[0]["advantage"]
    ]


@given(st.floats(-1e9, 1e9), st.sampled_from(["mean@4", "entropy", "length", "tokens_per_second", "clip_low"]))
def test_a_number_is_the_nearest_that_its_digits_can_say(value, metric):
    words = wording(metric)
    text = words.number(value).replace(",", "")
    exact = Decimal(repr(value)) * (100 if words.share else 1)
    assert abs(Decimal(text) - exact) <= Decimal(1).scaleb(-words.digits) / 2
    assert len(text.partition(".")[2]) == words.digits
    assert not re.fullmatch(r"-0\.?0*", text)


@given(st.integers(0, 2000))
def test_ties_are_rounded_away_from_zero(thousandths):
    value = thousandths / 2000
    expected = (thousandths + 1) // 2
    assert wording("mean@4").number(value) == f"{expected // 10}.{expected % 10}"
    assert wording("mean@4").number(-value).lstrip("-") == wording("mean@4").number(value)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e30, max_value=1e30))
def test_four_digits_of_a_token_are_the_four_that_it_has(value):
    assert float(credit_number(value)) == float(f"{value:.3e}")


def test_values_that_are_not_finite_are_refused():
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="Mean@4 must be finite; got"):
            wording("mean@4").value(value)


def test_every_metric_of_a_run_that_is_a_share_is_in_per_cent():
    shares = ["mean@8", "majority@8", "pass@8", "share_cut", "success_rate", "clip_low", "negative_success_share"]
    assert all(wording(name).value(0.5).endswith("0 %") for name in shares)
    assert wording("reward").value(0.5) == "0.500"
    assert wording("seconds_sampling").value(0.25) == "0.25 s"
    assert wording("pass@x").label == "Pass@x"  # no metric of ours: named as it is


def test_metrics_stand_in_one_order_and_none_twice():
    names = ["share_cut", "length", "entropy", "pass@16", "pass@2", "majority@16", "mean@16", "reward"]
    assert in_order(names) == [
        "mean@16", "majority@16", "pass@2", "pass@16", "reward", "entropy", "length", "share_cut",
    ]  # fmt: skip
    metrics = {"mean@2": 0.5, "mean@2_low": 0.1, "pass@1": 0.5, "pass@2": 0.7, "reward": 0.5, "problems": 4.0}
    assert worth_showing(metrics) == ["mean@2", "pass@2"]
    assert worth_showing(metrics, {**metrics, "reward": 0.6}) == ["mean@2", "pass@2", "reward"]


def test_no_script_of_a_page_formats_a_figure():
    from importlib.resources import files

    template = files("entroshape.report") / "template"
    for name in ("report.js", "comparison.js"):
        assert not re.search(r"d3\.format|toFixed|toPrecision|toLocaleString", (template / name).read_text())
