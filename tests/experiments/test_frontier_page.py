"""Figures beyond the hull in the terminal and on the comparison's page."""

import json
import re

import pytest
from chromium import needs_browser, opened
from frontier_records import compared, record
from rich.console import Console

from entroshape.experiments import Comparison, parse_arms
from entroshape.experiments.frontier_table import frontier_table, frontier_text
from entroshape.experiments.page import page_data, write_page
from entroshape.experiments.table import comparison_table
from entroshape.training.config import TrainConfig

HOSTILE = "gtpo:task=</script><img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def comparison():
    return compared({"dapo": 0.0, "gtpo": 0.15}, weights=("last", "ema"))


def test_the_terminal_shows_margins_with_intervals_and_says_what_was_chosen_where(comparison, capsys):
    Console(width=150).print(comparison_table(comparison))
    text = " ".join(capsys.readouterr().out.split())
    assert "Above the hull, in percentage points" in text
    assert "seeds Pass@16 Pass@32 Mean Area Greedy" in text
    assert "Chosen on 32 held-out problems: the method's point and the pair of the coin." in text
    assert "Reported on the other 32" in text
    assert "of the start over temperatures and of dapo over temperatures and steps" in text


def test_the_table_fits_a_terminal_of_90_columns_without_losing_a_word(comparison, capsys):
    Console(width=90).print(*frontier_table(comparison))
    assert "…" not in capsys.readouterr().out


def test_the_baseline_shows_no_margin_and_the_reason(comparison):
    text = frontier_text(comparison)
    first = next(row for row in text.rows if row.arm == "dapo" and not row.weights)
    assert [cell.text for cell in first.cells[2:6]] == ["-"] * 4
    assert any("part of its own hull" in note for note in text.notes)


def test_every_row_has_a_cell_per_column(comparison):
    text = frontier_text(comparison)
    assert text.columns[:4] == ["Mean@32", "Pass@32", "Pass@16 above the hull", "Pass@32 above the hull"]
    assert {len(row.cells) for row in text.rows} == {len(text.columns)}
    assert [row.weights for row in text.rows] == ["", "mean of the weights", "", "mean of the weights", "all weights *"]


def test_without_points_nothing_is_shown():
    old = Comparison(base=TrainConfig(), arms=parse_arms(["dapo"]), baseline="dapo", records=[record("dapo", 0)])
    assert frontier_text(old) is None
    assert page_data(old)["beyond"] == {"metrics": [], "plane": None, "table": None}


def test_the_plane_holds_the_start_every_arm_and_the_hull(comparison):
    data = page_data(comparison)
    json.dumps(data, allow_nan=False)
    plane = data["beyond"]["plane"]
    assert [each["k"] for each in plane["tries"]] == ["32", "16"]
    assert {curve["arm"] for curve in plane["curves"]} == {"start", "dapo", "gtpo"}
    start = next(curve for curve in plane["curves"] if curve["start"])
    assert start["line"]
    assert len(start["points"]) == 4
    lines = [curve for curve in plane["curves"] if curve["arm"] == "gtpo" and curve["line"]]
    assert [curve["main"] for curve in lines] == [False, True]
    text = lines[1]["points"][2]["text"]["16"]
    assert text[:2] == ["gtpo", "step 100, T 0.6"]
    assert re.fullmatch(r"Mean@32 \d+\.\d %", text[2])
    assert re.fullmatch(r"Pass@16 \d+\.\d %", text[3])
    hull = plane["hull"]["16"]
    assert all(place["low"] <= place["y"] <= place["high"] for place in hull)
    assert hull[0]["text"][0] == "hull of the start and dapo"
    assert [place["y"] for place in hull] == sorted((place["y"] for place in hull), reverse=True)


def test_the_forest_plot_has_the_margins_and_what_was_chosen(comparison):
    data = page_data(comparison)
    assert [each["name"] for each in data["beyond"]["metrics"]][:2] == ["above-hull@16", "above-hull@32"]
    gtpo = next(arm for arm in data["arms"] if arm["name"] == "gtpo")
    tip = gtpo["differences"]["above-hull@16"]["tip"]
    assert tip[0] == "gtpo - hull of dapo"
    assert any(line.startswith("point: step 100, ") for line in tip)
    assert any(line.startswith("coin of: ") for line in tip)
    assert len(gtpo["seeds"]["above-hull@16"]) == 3
    assert "above-hull@16" not in next(arm for arm in data["arms"] if arm["name"] == "dapo")["differences"]


def test_one_seed_has_no_band():
    plane = page_data(compared({"dapo": 0.0, "gtpo": 0.1}, seeds=1))["beyond"]["plane"]
    assert all(place["low"] == place["y"] == place["high"] for place in plane["hull"]["32"])


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("arm", ["gtpo", HOSTILE], ids=["a method", "hostile name"])
def test_the_plane_is_drawn_without_a_word_on_the_console(arm, tmp_path):
    dom, console = opened(write_page(compared({"dapo": 0.0, arm: 0.1}, seeds=2), tmp_path), tmp_path / "profile")
    assert console == []
    plane = re.search(r'id="plane".*?</svg>', dom, re.DOTALL)[0]
    assert plane.count('<path fill="none"') + plane.count("<path") >= 4
    assert "NaN" not in dom.partition("<main>")[2].partition("<footer>")[0]
    assert "<img" not in dom.partition("<main>")[2].partition("<footer>")[0]
    assert "owned" not in dom.partition("</title>")[0]


@pytest.mark.slow
@needs_browser
def test_hovering_names_arm_step_and_temperature_and_the_vertical_axis_can_be_switched(browser, comparison, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 2000})
    page.goto(write_page(comparison, tmp_path).resolve().as_uri())
    dot = page.locator("#plane [aria-label=dot] circle[r='4']").last.bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    tip = page.locator("#plane [aria-label=tip]").text_content()
    assert "step 100, T 1" in tip
    assert "Pass@32" in tip
    page.locator("#tries label:has-text('Pass@16')").click()
    assert "Pass@16 over Mean@32" in page.locator("#plane svg").get_attribute("aria-label")
    page.close()
