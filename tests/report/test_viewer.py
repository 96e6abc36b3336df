"""The credit viewer in a real browser: chosen, hovered, stepped through, with hostile text and very long responses."""

import pytest
from chromium import needs_browser
from report_inputs import make_run, rollout_rows

from entroshape.report import write_report

HOSTILE = [
    "</script><script>document.title='owned'</script>", "<img src=x onerror=\"document.title='owned'\">",
    "שלום", "مرحبا", "👩‍👩‍👧", "\n", "  x ", "\u202eabc", "e\u0301", "", "\x00", "&amp;", "a" * 300,
]  # fmt: skip

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

CONTRASTS = """cells => cells.map(cell => {
    const channel = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const lightness = text => {
        const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map(v => channel(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const style = getComputedStyle(cell);
    const [dark, light] = [lightness(style.color), lightness(style.backgroundColor)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
})"""
"""The contrast of text and background of each cell, as the WCAG define it."""

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture
def opened(silent_page, tmp_path):
    """``opened(rows by step)``: a page with the report of a run with these rollouts; it has to stay silent."""

    def open_report(rollouts, **options):
        run = make_run(tmp_path / "run", steps=5)
        for step, rows in rollouts.items():
            run.write_rollouts(step, rows)
        return silent_page(write_report(run.path), "#viewer[data-ready]", **options)

    return open_report


def cell(row, column):
    return f'#tokens td[data-row="{row}"][data-column="{column}"]'


def facts(page):
    names, values = page.locator("#token dt").all_inner_texts(), page.locator("#token dd").all_inner_texts()
    return dict(zip(names, values, strict=True))


def becomes(page, condition):
    """Whether a condition holds within three seconds; the page's policy keeps playwright from waiting for it there."""
    for _ in range(30):
        if page.evaluate(condition):
            return True
        page.wait_for_timeout(100)
    return False


def test_it_opens_on_the_last_step_and_shows_all_tokens_of_a_group(opened):
    rows = rollout_rows(5)
    page = opened({1: rollout_rows(1), 5: rows})
    assert page.locator("#step option:checked").inner_text() == "step 5"
    assert page.locator("#prompt").inner_text() == "prompt 0 of step 5"
    for row in range(4):
        shown = page.locator(f'#tokens td[data-row="{row}"]').all_inner_texts()
        assert shown == [token.replace(" ", "·") for token in rows[row]["tokens"]]
    heads = page.locator("#tokens tbody th").all_inner_texts()
    assert heads[0] == "✓ success 1"
    assert heads[1:] == ["✗ failure 0"] * 3


def test_pointing_at_a_token_shows_its_numbers_and_marks_its_column_in_all_responses(opened):
    rows = rollout_rows(5)
    page = opened({5: rows})
    page.hover(cell(1, 2))
    shown = facts(page)
    assert shown["token"] == "·t3"
    assert shown["id"] == "2"
    assert shown["position"] == "3 of 7, completion 2"
    assert float(shown["entropy"].split()[0]) == pytest.approx(rows[1]["entropy"][2], rel=1e-3)
    assert float(shown["shaped reward"].replace("\u2212", "-")) == pytest.approx(rows[1]["shaped_reward"][2], rel=1e-3)
    assert float(shown["advantage"].replace("\u2212", "-")) == pytest.approx(rows[1]["advantage"][2], rel=1e-3)
    assert page.locator("#tokens td.marked").count() == 4
    assert set(page.locator("#tokens .marked").evaluate_all("cells => cells.map(c => c.dataset.column)")) == {"2"}
    assert page.locator("#column h4").inner_text() == "Position 3 in all completions"
    assert page.locator("#column svg circle").count() == 5  # four responses, and the one pointed at once more


def test_the_keyboard_reaches_everything(opened):
    page = opened({1: rollout_rows(1), 5: rollout_rows(5)})
    page.click(cell(0, 0))
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert facts(page)["position"] == "3 of 7, completion 2"
    assert page.evaluate("document.activeElement.dataset.column") == "2"
    page.keyboard.press("End")
    assert facts(page)["position"] == "7 of 7, completion 2"
    page.keyboard.press("n")
    assert page.locator("#prompt").inner_text() == "prompt 1 of step 5"
    page.keyboard.press(".")
    assert page.locator("#step option:checked").inner_text() == "step 1"
    for key, name in (("e", "entropy"), ("r", "shaped_reward"), ("a", "advantage")):
        page.keyboard.press(key)
        assert page.locator("#quantities input:checked").get_attribute("value") == name
    page.keyboard.press("p")
    page.keyboard.press("p")
    assert page.locator("#prompt").inner_text() == "prompt 2 of step 1"


def test_on_a_phone_a_tap_chooses_a_token_and_a_finger_that_scrolls_does_not(opened):
    page = opened({5: rollout_rows(5)}, **PHONE)
    page.tap(cell(2, 1))
    assert facts(page)["position"] == "2 of 8, completion 3"
    page.tap(cell(0, 2))
    assert facts(page)["position"] == "3 of 6, completion 1"
    assert set(page.locator("#tokens .marked").evaluate_all("cells => cells.map(c => c.dataset.column)")) == {"2"}
    page.locator(cell(1, 1)).dispatch_event("pointermove", {"pointerType": "touch", "clientX": 9, "bubbles": True})
    assert facts(page)["position"] == "3 of 6, completion 1"


def test_the_report_does_not_scroll_sideways_on_a_phone(opened):
    page = opened({5: rollout_rows(5, length=40)}, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("innerWidth") == 390


def test_a_click_chooses_what_lies_under_a_pointer_that_has_not_moved_since_the_keys(opened):
    page = opened({5: rollout_rows(5)})
    page.click(cell(1, 1))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert facts(page)["position"] == "3 of 8, completion 3"
    page.mouse.down()
    page.mouse.up()
    assert facts(page)["position"] == "2 of 7, completion 2"


def test_keys_act_on_the_token_that_is_pointed_at_without_a_click(opened):
    page = opened({1: rollout_rows(1), 5: rollout_rows(5)})
    page.hover(cell(1, 1))
    scrolled = page.evaluate("scrollY")
    page.keyboard.press("ArrowDown")
    assert facts(page)["position"] == "2 of 8, completion 3"
    assert page.evaluate("scrollY") == scrolled
    for key, shown in (("n", "prompt 1 of step 5"), (".", "prompt 1 of step 1")):
        page.mouse.move(5, 5)
        page.evaluate("document.activeElement.blur()")
        page.hover(cell(1, 1))
        page.keyboard.press(key)
        assert page.locator("#prompt").inner_text() == shown
    page.keyboard.press("e")
    assert page.locator("#quantities input:checked").get_attribute("value") == "entropy"


def test_letters_act_after_a_colour_was_chosen_and_the_arrows_still_choose_colours(opened):
    page = opened({1: rollout_rows(1), 5: rollout_rows(5)})
    page.click("#quantities label:has-text('Entropy')")
    page.keyboard.press("ArrowRight")
    assert page.locator("#quantities input:checked").get_attribute("value") == "shaped_reward"
    page.keyboard.press("n")
    assert page.locator("#prompt").inner_text() == "prompt 1 of step 5"
    page.click("#quantities label:has-text('Entropy')")
    page.keyboard.press(".")
    assert page.locator("#step option:checked").inner_text() == "step 1"


def test_keys_act_on_a_token_that_is_pointed_at_after_a_step_was_chosen_from_the_list(opened):
    page = opened({1: rollout_rows(1), 5: rollout_rows(5)})
    page.focus("#step")
    page.select_option("#step", label="step 1")
    page.hover(cell(1, 1))
    page.keyboard.press("ArrowDown")
    assert page.locator("#step option:checked").inner_text() == "step 1"
    assert facts(page)["position"] == "2 of 8, completion 3"


def test_keys_scroll_the_page_and_a_long_prompt_where_no_token_is_pointed_at(opened):
    page = opened({5: [{**row, "prompt": "line\n" * 50} for row in rollout_rows(5)]})
    page.mouse.move(5, 5)
    page.keyboard.press("PageDown")
    assert becomes(page, "scrollY > 100")
    page.keyboard.press("n")
    assert page.locator("#group option:checked").inner_text().startswith("1:")
    page.focus("#prompt")
    page.keyboard.press("PageDown")
    assert becomes(page, "document.getElementById('prompt').scrollTop > 0")
    assert facts(page)["position"] == "1 of 6, completion 1"


def test_a_screen_reader_is_told_the_token_and_its_value(opened):
    page = opened({5: rollout_rows(5)})
    assert page.locator(cell(0, 2)).get_attribute("aria-label") == "·t2, completion 1, token 3: Advantage 0.5"


def test_text_that_turns_around_what_follows_is_escaped_in_prompts_as_in_tokens(opened):
    prompt = f"first \u202eabc\x1b\n\t{HOSTILE[2]}"
    page = opened({5: [{**row, "prompt": prompt} for row in rollout_rows(5)]})
    assert page.locator("#prompt").evaluate("node => node.textContent") == f"first \\u202eabc␛\n\t{HOSTILE[2]}"
    assert page.locator("#group option").first.inner_text() == f"1: first \\u202eabc␛ {HOSTILE[2]} (1 of 4 succeeded)"


def test_steps_prompts_and_quantities_can_be_chosen(opened):
    page = opened({1: rollout_rows(1), 5: rollout_rows(5)})
    before = page.locator(cell(0, 1)).get_attribute("style")
    page.check('#quantities input[value="entropy"]', force=True)
    assert page.locator(cell(0, 1)).get_attribute("style") != before
    assert "Entropy" in page.locator("#scale").inner_text()
    page.select_option("#step", label="step 1")
    page.select_option("#group", index=2)
    assert page.locator("#prompt").inner_text() == "prompt 2 of step 1"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_tell_the_sign_and_every_token_can_be_read(opened, scheme):
    page = opened({5: rollout_rows(5)}, color_scheme=scheme)
    for quantity in ("advantage", "entropy", "shaped_reward"):
        page.check(f'#quantities input[value="{quantity}"]', force=True)
        assert min(page.locator("#tokens td[data-row]").evaluate_all(CONTRASTS)) >= 4.5
    rgb = "cell => getComputedStyle(cell).backgroundColor.match(/[0-9.]+/g).map(Number)"
    success, failure = page.locator(cell(0, 0)).evaluate(rgb), page.locator(cell(1, 0)).evaluate(rgb)
    assert success[2] > success[0]  # blue
    assert failure[0] > failure[2]  # vermillion


def test_hostile_text_is_text(opened):
    rows = rollout_rows(5, groups=1, length=len(HOSTILE), token=lambda row, column: HOSTILE[column % len(HOSTILE)])
    page = opened({5: [{**row, "prompt": HOSTILE[0] + HOSTILE[1]} for row in rows]})
    assert page.title() != "owned"
    assert page.locator("main img").count() == 0
    assert page.locator("#prompt").inner_text() == HOSTILE[0] + HOSTILE[1]
    shown = page.locator('#tokens td[data-row="0"]').evaluate_all("cells => cells.map(c => c.textContent)")
    visible = {"\n": "⏎", "  x ": "··x·", "\u202eabc": "\\u202eabc", "": "∅", "\x00": "␀"}
    assert shown == [visible.get(text, text) for text in HOSTILE]
    # Right-to-left tokens stay in their own places, left to right by position.
    left = page.locator('#tokens td[data-row="0"]').evaluate_all(
        "cells => cells.map(c => c.getBoundingClientRect().left)"
    )
    assert left == sorted(left)


def test_ten_thousand_tokens_are_paged_and_what_does_not_fit_is_said(opened):
    page = opened({5: rollout_rows(5, groups=1, size=16, length=10_000)})
    assert page.locator("#columns").inner_text() == "tokens 1 to 200 of 10,002"
    kept = page.locator("#tokens tbody tr").count()
    assert 10 <= kept < 16
    assert f"holds {16 - kept} more completions" in page.locator("#left-out").inner_text()
    assert page.locator("#tokens td[data-row]").count() == kept * 200
    page.click("#later")
    assert page.locator("#columns").inner_text() == "tokens 201 to 400 of 10,002"
    page.click(cell(2, 250))
    page.keyboard.press("End")
    assert facts(page)["position"] == "10002 of 10002, completion 3"
    assert page.locator("#columns").inner_text() == "tokens 10,001 to 10,002 of 10,002"
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    assert facts(page)["position"].startswith("201 of")


def test_responses_without_a_token_and_methods_without_entropy_are_shown(opened):
    rows = rollout_rows(5, groups=1)
    lists = {"tokens": [], "token_ids": [], "entropy": [], "shaped_reward": [], "advantage": [], "completion": ""}
    page = opened({5: [{**rows[0], **lists}, *({**row, "entropy": []} for row in rows[1:])]})
    assert page.locator("#quantities label").all_inner_texts() == ["Shaped reward", "Advantage"]
    assert page.locator("#tokens tbody tr").count() == 4
    page.hover(cell(1, 0))
    assert "entropy" not in facts(page)


def test_a_run_without_rollouts_has_no_viewer(browser, tmp_path):
    page = browser.new_page()
    page.goto(write_report(make_run(tmp_path / "run", steps=2).path).resolve().as_uri())
    assert page.locator("#tokens-section").is_hidden()
    page.close()
