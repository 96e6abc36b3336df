"""The report in a real browser: charts drawn, nothing on the console. Skipped where no Chromium or Chrome is found."""

import re

import pytest
from chromium import needs_browser, opened
from report_inputs import make_run

from entroshape.report import write_report
from entroshape.runs import RunDirectory

pytestmark = [pytest.mark.slow, needs_browser]


def drawn_titles(dom):
    cards = re.findall(r"<h3>(.*?)</h3>.*?(<svg.*?</svg>)", dom, re.DOTALL)
    return [title for title, svg in cards if re.search(r"<(path|circle|line) ", svg)]


def test_a_whole_run_draws_every_chart_without_a_word_on_the_console(tmp_path):
    run = make_run(tmp_path / "run", steps=30)
    dom, console = opened(write_report(run.path), tmp_path / "profile")
    assert console == []
    assert drawn_titles(dom) == [
        "Pass@k on held-out problems", "Success rate", "Entropy", "Completion length", "Groups without credit",
        "Credit against the outcome", "Spread of the shaped rewards", "Clipped tokens", "Gradient norm", "Loss",
        "Learning rate", "Seconds per step", "Throughput",
    ]  # fmt: skip
    assert 'data-drawn="13"' in dom
    assert "NaN" not in dom.partition("<main>")[2].partition("<footer>")[0]
    assert "The same at every step: cut at the limit 0.0 %." in dom


def test_evaluations_on_the_way_are_drawn_as_curves_of_mean_and_pass_over_the_steps(tmp_path):
    run = make_run(tmp_path / "run", steps=30, evaluated=(0.1, 0.12, 0.15, 0.2))
    dom, console = opened(write_report(run.path), tmp_path / "profile")
    assert console == []
    assert drawn_titles(dom)[1:3] == ["Success rate", "Held-out problems"]
    card = dom.partition("<h3>Held-out problems</h3>")[2].partition("</figure>")[0]
    assert re.findall(r"<li[^>]*>(.*?)</li>", card) == ["Mean@16", "Pass@16"]
    lines = re.findall(r'<g aria-label="line"[^>]*><path [^>]*d="(M[^"]*)"', card)
    assert [line.count(",") for line in lines] == [4, 4]
    assert card.count('aria-label="area"') == 2
    # Both start at step 0, and Pass@16 lies above Mean@16 all the way.
    mean, passed = (re.findall(r"([\d.]+),([\d.]+)", line) for line in lines)
    assert [x for x, _ in mean] == [x for x, _ in passed]
    assert all(float(above) < float(below) for (_, below), (_, above) in zip(mean, passed, strict=True))


def test_before_and_after_alone_are_no_course_over_the_steps(tmp_path):
    run = make_run(tmp_path / "run", steps=5, evaluated=(0.1, 0.2))
    dom, _ = opened(write_report(run.path), tmp_path / "profile")
    assert "Held-out problems" not in drawn_titles(dom)


def test_a_graded_reward_has_a_chart_of_its_own_and_missing_metrics_have_none(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"task": "reasoning_gym:chain_sum", "method": "grpo"})
    for step in range(1, 4):
        run.append_metrics({"step": step, "reward": 0.3 + step / 100, "success_rate": 0.1 * step, "entropy": None})
    dom, console = opened(write_report(run.path), tmp_path / "profile")
    assert console == []
    assert drawn_titles(dom) == ["Success rate", "Reward"]
    assert re.search(r'<section id="credit" hidden', dom)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_that_has_hardly_begun_opens_without_errors(tmp_path, steps):
    run = make_run(tmp_path / "run", steps=steps, evaluated=(0.1,))
    dom, console = opened(write_report(run.path), tmp_path / "profile")
    assert console == []
    assert ('id="no-steps" hidden' in dom) == (steps > 0)
    assert "Pass@k on held-out problems" in drawn_titles(dom)


def test_hostile_text_runs_nothing(tmp_path):
    hostile = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    run = make_run(tmp_path / "run", steps=2, task=hostile, method_options={hostile: hostile})
    run.append_metrics({"step": 3, "reward": 0.1, hostile: 1.0})
    dom, console = opened(write_report(run.path), tmp_path / "profile")
    assert console == []
    assert "<title>owned" not in dom
    assert "<img" not in dom
