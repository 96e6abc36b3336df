"""The comparison's page in a real browser: forest plot, curves and table drawn, hostile names as text."""

import json
import math
import re

import pytest
from chromium import needs_browser, opened

from entroshape.experiments import Comparison, parse_arms
from entroshape.experiments.page import page_data, write_page
from entroshape.experiments.table import comparison_table
from entroshape.training.config import TrainConfig

HOSTILE = "gtpo:task=</script><img src=x onerror=document.title='owned'>"


def record(arm, seed, shift=0.0):
    curve = [min(1.0, 0.1 + shift + 0.02 * step + 0.01 * seed) for step in range(1, 31)]
    passes = [0.3 + shift, 0.4 + shift, 0.5 + shift, 0.6 + shift]
    after = {"mean@4": passes[0] + 0.001 * seed**2, "pass@1": passes[0], "pass@4": passes[3] + 0.01 * seed}
    after |= {"entropy": 0.3 - shift, "length": 20.0, "problems": 8.0, "samples": 4.0}
    return {
        "arm": arm,
        "seed": seed,
        "steps": 30,
        "before": {"mean@4": 0.1, "pass@1": 0.1, "pass@4": 0.5, "entropy": 0.3, "length": 20.0},
        "after": after,
        "pass_curve": passes,
        "curves": {
            "step": list(range(1, 31)),
            "success_rate": curve,
            "entropy": [0.3 - 0.2 * value for value in curve],
            "entropy_success": [None, *curve[1:]],
        },
        "evaluations": {},
        "seconds": 10.0,
        "environment": None,
    }


def compared(arms=("dapo", "gtpo", "grpo_s"), seeds=3):
    records = [record(arm, seed, 0.05 * place) for place, arm in enumerate(arms) for seed in range(seeds)]
    return Comparison(base=TrainConfig(), arms=parse_arms(list(arms)), baseline=arms[0], records=records)


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(
    ("arms", "seeds"),
    [(("dapo", "gtpo", "grpo_s"), 3), (("dapo", "gtpo"), 1), (("dapo",), 2), (("dapo", HOSTILE, "grpo"), 2)],
    ids=["three methods", "one seed", "one arm", "hostile name"],
)
def test_everything_is_drawn_without_a_word_on_the_console(arms, seeds, tmp_path):
    dom, console = opened(write_page(compared(arms, seeds), tmp_path), tmp_path / "profile")
    assert console == []
    main = dom.partition("<main>")[2].partition("<footer>")[0]
    for title in ("Pass@k on held-out problems", "Success rate", "Entropy", "Entropy of successes"):
        card = re.search(rf"<h3>{re.escape(title)}</h3>.*?(<svg.*?</svg>)", main, re.DOTALL)
        assert re.search(r'<path [^>]*d="M', card[1])
    assert "NaN" not in main
    assert main.count('<th scope="row">') >= len(arms)
    assert ("nothing to compare with the baseline" in main) == (len(arms) == 1)
    assert "<img" not in main
    assert "owned" not in dom.partition("</title>")[0]


@pytest.fixture
def shown(browser, tmp_path):
    """``shown(comparison)``: its page, open in a browser of the width that is asked for."""
    pages = []

    def show(comparison, width=1280):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(write_page(comparison, tmp_path).resolve().as_uri())
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()


MANY = ("dapo", "gtpo", *(f"gtpo:comparison_scope=batch:alpha2={i / 100}" for i in range(1, 15)))


def alike(comparison, steps=30):
    """The same with arms that do not differ, after that many steps."""
    first = record("", 0)
    for each in comparison.records:
        each["after"] = first["after"]
        each["curves"] = {name: values[:steps] for name, values in first["curves"].items()}
    return comparison


@pytest.mark.slow
@needs_browser
def test_the_curves_of_the_held_out_problems_are_drawn_with_their_bands(shown):
    page = shown(evaluated(compared()))
    for title in ("Mean@4 over the steps", "Pass@4 over the steps"):
        card = page.locator(f"figure:has(h3:text-is('{title}'))")
        assert card.locator("[aria-label=line] path").count() == 3
        assert card.locator("[aria-label=area] path").count() == 3
        assert card.locator("[aria-label=dot] circle").count() == 12  # three arms, each at 0, 10, 20 and 30
    assert shown(compared()).locator("h3:has-text('over the steps')").count() == 0


@pytest.mark.slow
@needs_browser
def test_where_nothing_differs_no_bar_is_drawn_and_no_space_is_left(shown):
    page = shown(alike(compared()))
    widths = page.locator("#forest [aria-label=rule] line").evaluate_all(
        "lines => lines.map(line => Math.abs(line.x2.baseVal.value - line.x1.baseVal.value))"
    )
    assert max(widths) == 0
    ticks = page.locator("#forest [aria-label='x-axis tick label'] text").all_text_contents()
    assert (ticks[0].replace("\u2212", "-"), ticks[-1]) == ("-1.0", "1.0")
    assert page.locator("#forest").bounding_box()["height"] < 150


@pytest.mark.slow
@needs_browser
def test_steps_of_a_short_comparison_are_whole(shown):
    page = shown(alike(compared(), steps=3))
    card = page.locator("figure:has(h3:text-is('Success rate'))")
    assert card.locator("[aria-label='x-axis tick label'] text").all_text_contents() == ["1", "2", "3"]


@pytest.mark.slow
@needs_browser
def test_a_difference_of_shares_is_in_percentage_points(shown):
    page = shown(compared())
    assert "difference in Mean@4, percentage points" in page.locator("#forest").text_content()
    dot = page.locator("#forest [aria-label=dot] circle[r='5']").first.bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    assert "+5.0 points (+5.0 to +5.0)" in page.locator("#forest [aria-label=tip]").text_content().replace("  ", " ")


@pytest.mark.slow
@needs_browser
def test_arms_of_one_colour_have_swatches_of_their_own(shown):
    labels = shown(compared(MANY, seeds=1)).locator("#arms label")
    looks = labels.evaluate_all(
        """labels => labels.map(label => { const { borderTopColor: colour, borderTopStyle: style } =
            getComputedStyle(label, "::after"); return `${colour} ${style}`; })"""
    )
    assert len(set(looks)) == len(looks) == 16


@pytest.mark.slow
@needs_browser
def test_the_table_of_many_arms_fits_a_screen_and_keeps_names_beside_figures_on_a_phone(shown):
    comparison = compared(MANY, seeds=5)
    for each in comparison.records:
        noise = 0.01234 * math.sin(7 * each["seed"] + len(each["arm"]))
        more = {"pass@16": 0.7 + noise, "pass@32": 0.8 + noise, "entropy": 0.2 + noise, "length": 24.1 + 30 * noise}
        each["after"] = {**each["after"], **more}
    page = shown(comparison)
    assert page.locator(".scroll").evaluate("node => node.scrollWidth - node.clientWidth") == 0
    assert page.locator("#table tbody tr").first.all_inner_texts() == ["before\t\t10.0 %\t50.0 %\t-\t-\t0.300\t20.0"]
    phone = shown(comparison, width=390)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    phone.locator(".scroll").evaluate("node => { node.scrollLeft = 200; }")
    name, scroll = (phone.locator(each).bounding_box() for each in ("#table tbody tr:last-child th", ".scroll"))
    assert name["x"] == pytest.approx(scroll["x"], abs=1)
    assert name["width"] < 0.45 * scroll["width"]


def test_the_page_holds_what_the_statistics_say():
    data = page_data(compared())
    gtpo = data["arms"][1]
    assert gtpo["differences"]["pass@4"]["mean"] == pytest.approx(0.05)
    assert gtpo["seeds"]["pass@4"] == pytest.approx([0.05] * 3)
    assert [point["x"] for point in gtpo["pass"]] == [1, 2, 3, 4]
    first, last = gtpo["curves"]["success_rate"][0], gtpo["curves"]["success_rate"][-1]
    assert first["low"] < first["mean"] < first["high"] < last["mean"]
    json.dumps(data, allow_nan=False)


def evaluated(comparison, *, missing=()):
    """The same with evaluations on the way at steps 10 and 20; those of ``missing`` (arm, seed) have only the first."""
    for record in comparison.records:
        first = {**record["before"], "mean@4": 0.2 + 0.01 * record["seed"], "pass@4": 0.55 + 0.01 * record["seed"]}
        second = {**first, "mean@4": 0.25, "pass@4": 0.6}
        record["evaluations"] = {"10": first, "20": second}
        if (record["arm"], record["seed"]) in missing:
            del record["evaluations"]["20"]
    return comparison


def test_evaluations_on_the_way_become_curves_of_mean_and_pass_between_before_and_after():
    data = page_data(evaluated(compared(), missing=[("gtpo", 1)]))
    assert data["held_out"] == {"mean": "mean@4", "pass": "pass@4"}
    dapo, gtpo = (arm["curves"]["held_out_mean"] for arm in data["arms"][:2])
    assert [point["x"] for point in dapo] == [0, 10, 20, 30]
    assert [point["mean"] for point in dapo] == pytest.approx([0.1, 0.21, 0.25, 0.3 + 0.005 / 3], rel=1e-3)
    assert dapo[1]["low"] < dapo[1]["mean"] < dapo[1]["high"]
    assert [point["x"] for point in gtpo] == [0, 10, 30]  # what all seeds have
    assert page_data(compared())["arms"][0]["curves"]["held_out_mean"] == []


def test_bands_are_not_drawn_where_no_value_can_lie_and_the_figures_are_what_they_were():
    comparison = compared(seeds=2)
    for record in comparison.records:
        record["pass_curve"] = [0.2 + 0.6 * record["seed"]] * 4
        record["after"]["pass@4"] = 0.2 + 0.6 * record["seed"] * (record["arm"] == "gtpo")
        record["curves"]["entropy"] = [0.1 + 0.4 * record["seed"]] * 30
        record["curves"]["share_cut"] = [0.01 * record["seed"]] * 30
        record["curves"]["reward"] = [1.0 * record["seed"]] * 30
    gtpo = page_data(comparison)["arms"][1]
    assert {(point["low"], point["high"]) for point in gtpo["pass"]} == {(0.0, 1.0)}
    assert {point["low"] for name in ("entropy", "share_cut") for point in gtpo["curves"][name]} == {0.0}
    assert gtpo["curves"]["entropy"][0]["high"] > 1
    assert gtpo["curves"]["reward"][0]["low"] < -1  # a reward may be negative
    assert gtpo["differences"]["pass@4"]["low"] < -1


def test_one_seed_has_no_band():
    point = page_data(compared(seeds=1))["arms"][0]["curves"]["success_rate"][0]
    assert point["low"] == point["mean"] == point["high"]


def test_the_terminal_says_what_stands_and_what_one_seed_is_worth(capsys):
    from rich.console import Console

    Console(width=160).print(comparison_table(compared()))
    assert "+5.0 to +5.0" in capsys.readouterr().out
    Console(width=160).print(comparison_table(compared(seeds=1)))
    assert "One seed says nothing about the spread" in capsys.readouterr().out
