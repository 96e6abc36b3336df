"""Kinds of tokens in the credit viewer and the charts, in a real browser."""

import pytest
from chromium import needs_browser
from report_inputs import make_run, rollout_rows

from entroshape.report import write_report
from entroshape.report.kinds import HEADINGS, credit_by_kind, kind_texts

pytestmark = [pytest.mark.slow, needs_browser]

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
KINDS = ["first", "operator", HOSTILE]


def named_rows(step):
    rows = rollout_rows(step)
    for row in rows:
        length = len(row["tokens"])
        row |= {"kind": [KINDS[k % 3] for k in range(length)], "weight": [0.5 + 0.25 * k for k in range(length)]}
        row |= {"decision": [k % 3 < 2 for k in range(length)]}
        row["first_error"] = [k == 4 and not row["success"] for k in range(length)]
    return rows


@pytest.fixture
def opened(silent_page, tmp_path):
    """``opened(rows, metrics)``: a page with the report of a run that ends with these; it has to stay silent."""

    def open_report(rows, metrics=None, **options):
        run = make_run(tmp_path / "run", steps=4)
        run.append_metrics({"step": 5, **(metrics or {})})
        run.append_metrics({"step": 6, **{name: value / 2 for name, value in (metrics or {}).items()}})
        run.write_rollouts(6, rows)
        return silent_page(write_report(run.path), "#viewer[data-ready]", **options)

    return open_report


def test_a_chosen_kind_stays_and_the_others_fade_in_every_prompt(opened):
    page = opened(named_rows(6))
    assert page.locator("#kind option").all_inner_texts() == ["all", *KINDS]
    assert page.locator("#tokens td.faded").count() == 0
    page.select_option("#kind", label="operator")
    for _ in range(2):
        columns = page.locator("#tokens td.faded").evaluate_all("cells => cells.map(c => +c.dataset.column % 3)")
        assert set(columns) == {0, 2}
        shown = page.locator("#tokens td[data-kind]:not(.faded)").evaluate_all(
            "cells => cells.map(c => +c.dataset.column % 3)"
        )
        assert set(shown) == {1}
        page.hover('#tokens td[data-row="1"]')
        page.keyboard.press("n")
    page.click('#kinds tr[data-kind="1"]')  # the chosen one: all are shown again
    assert page.locator("#tokens td.faded").count() == 0
    page.click('#kinds tr[data-kind="0"]')
    assert page.locator("#kind option:checked").inner_text() == "first"


def test_the_table_holds_the_figures_of_inspect_and_hostile_names_are_text(opened):
    rows = named_rows(6)
    page = opened(rows)
    assert page.locator("#kinds thead th").all_inner_texts() == ["kind", *HEADINGS]
    lines = page.locator("#kinds tbody tr:has(td)").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    assert lines == [[row.kind, *kind_texts(row)] for row in credit_by_kind(rows)]
    assert page.title() != "owned"


def test_a_token_says_its_kind_and_weight_and_the_first_false_one_is_framed(opened):
    page = opened(named_rows(6))
    page.click('#tokens td[data-row="1"][data-column="4"]')
    facts = dict(
        zip(page.locator("#token dt").all_inner_texts(), page.locator("#token dd").all_inner_texts(), strict=True)
    )
    assert facts["kind"] == "operator (first false token)"
    assert facts["weight"] == "1.5"
    framed = page.locator("#tokens td.first-error").evaluate_all(
        "cells => cells.map(c => [c.dataset.row, c.dataset.column])"
    )
    assert framed == [["1", "4"], ["2", "4"], ["3", "4"]]
    page.keyboard.press("w")
    assert page.locator("#quantities input:checked").get_attribute("value") == "weight"


def test_kinds_have_a_chart_per_quantity_and_outcome(opened):
    metrics = {f"kind/{outcome}/entropy/{kind}": 0.5 for outcome in ("success", "failure") for kind in KINDS}
    page = opened(named_rows(6), metrics | {"bonus_on_decisions": 0.4, "penalty_on_first_error": 0.01})
    titles = page.locator("#by-kind h3").all_inner_texts()
    assert titles == [
        "Credit on decisions", "Penalty on the first false token",
        "Entropy by kind, successes", "Entropy by kind, failures",
    ]  # fmt: skip
    assert page.locator("#by-kind figure").nth(2).locator(".legend li").all_inner_texts() == sorted(KINDS)


def test_a_task_without_kinds_has_neither_filter_nor_table_nor_charts(opened):
    page = opened(rollout_rows(6))
    assert page.locator("#kind").is_hidden()
    assert page.locator("#kinds").inner_text() == ""
    assert page.locator("#by-kind").is_hidden()
    assert "kind" not in page.locator("#token dt").all_inner_texts()


def test_the_table_of_kinds_does_not_make_a_phone_scroll_sideways(opened):
    page = opened(named_rows(6), viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
