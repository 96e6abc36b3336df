"""The mathematics verifier: agrees with reference answers, and survives whatever a model writes."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks.math_verifier import WINDOW, MathReward, answer_window

pytestmark = pytest.mark.slow

ROWS = [json.loads(line) for line in (Path(__file__).parent / "fixtures" / "problems.jsonl").read_text().splitlines()]
GOLD = [row["answer"] for row in ROWS]


@pytest.fixture(scope="module")
def reward():
    reward = MathReward(workers=2, time_limit=2.0)
    yield reward
    reward.close()


def scores(reward, pairs):
    gold, completions = zip(*pairs, strict=True)
    return reward([""] * len(pairs), list(completions), answer=list(gold))


@pytest.mark.parametrize(
    "template",
    [
        "So it is \\boxed{%s}.",
        "$\\boxed{%s}$",
        "Not \\boxed{0}. The carry was lost: \\boxed{%s}",
        "\\[ \\boxed{%s} \\]",
    ],
)
def test_boxed_reference_answers_are_right(reward, template):
    assert scores(reward, [(gold, template % gold) for gold in GOLD]) == [1.0] * len(GOLD)


def test_boxed_answers_of_other_problems_are_wrong(reward):
    pairs = [(gold, f"\\boxed{{{other}}}") for gold in GOLD for other in GOLD if gold != other]
    assert scores(reward, pairs) == [0.0] * len(pairs)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2}", "0.5"),
        ("1,200", "1200"),
        ("15\\%", "15"),
        ("3\\sqrt{2}", "\\sqrt{18}"),
        ("x^2 - x - 2", "(x+1)(x-2)"),
        ("\\$7.00", "7"),
        ("60^\\circ", "60"),
        ("\\text{Tuesday}", "Tuesday"),
    ],
)
def test_other_ways_to_write_an_answer_are_right(reward, gold, answer):
    assert scores(reward, [(gold, f"\\boxed{{{answer}}}")]) == [1.0]


def test_without_a_box_the_stated_answer_counts(reward):
    said = ["The final answer is $\\frac{1}{2}$. I hope it is correct.", "so one gets 0.5", "so one gets 0.25"]
    assert scores(reward, [("\\frac{1}{2}", text) for text in said]) == [1.0, 1.0, 0.0]


HOSTILE = {
    "a tower of powers": r"\boxed{9^{9^{9^9}}}",
    "a factorial of a factorial": r"\boxed{((9!)!)!}",
    "a million digits": r"\boxed{10^{10^{8}}}",
    "a hundred kilobytes of sum": "\\boxed{" + "1+" * 50_000 + "2}",
    "a hundred kilobytes of dollars": "$" * 100_000,
    "a hundred kilobytes of braces": "\\boxed{" + "{" * 100_000,
    "deep nesting": r"\boxed{" + r"\frac{1}{" * 300 + "2" + "}" * 300 + "}",
    "an unfinished fraction": r"\boxed{\frac{1}{",
    "an unfinished matrix": r"\boxed{\begin{pmatrix} 1 & 2}",
    "a division by zero": r"\boxed{\frac{1}{0}}",
    "more digits than int() takes": r"\boxed{" + "9" * 4900 + "}",
    "control characters": "\x00\x1b\ud800\u202e",
    "nothing": "",
}


@pytest.mark.slow
def test_hostile_answers_score_zero_and_leave_the_others_alone(reward):
    pairs = [pair for text in HOSTILE.values() for pair in (("42", text), ("42", r"\boxed{42}"))]
    expected = [0.0, 1.0] * len(HOSTILE)
    assert dict(zip(HOSTILE, scores(reward, pairs)[::2], strict=True)) == dict.fromkeys(HOSTILE, 0.0)
    assert scores(reward, [pair for pair in pairs if pair[1] == r"\boxed{42}"]) == expected[1::2]


def test_conversations_are_read(reward):
    conversation = [{"role": "assistant", "content": r"\boxed{13}"}]
    assert reward(["?"], [conversation], answer=["13"]) == [1.0]


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"this task needs math_verify: pip install 'entroshape\[tasks\]'"):
        MathReward()


@given(st.text(max_size=50), st.integers(0, 3), st.text(alphabet="x ", max_size=20))
def test_window_is_short_and_keeps_the_last_box(before, padding, after):
    text = before + r"\boxed{7}" + after + "." * (padding * WINDOW // 2)
    window = answer_window(text)
    assert len(window) <= WINDOW
    assert r"\boxed{7}" in window
    assert window in text


def test_window_of_a_short_text_is_the_text():
    assert answer_window("no box") == "no box"


HANGING = {
    "a tower of powers": r"\boxed{9^{9^{9^9}}}",
    "an integral without end": r"\boxed{\int \frac{\sqrt{\tan(x^5+\sin x)}}{\log(1+e^{x^3})} dx}",
    "a sum of a thousand million terms": r"\boxed{\sum_{k=1}^{10^9} \frac{1}{k^2}}",
}


@pytest.mark.slow
@pytest.mark.parametrize("bad", HANGING)
def test_one_answer_that_hangs_costs_fifty_good_ones_nothing_but_its_own_time(reward, bad):
    reward([""], [r"\boxed{1}"], answer=["1"])  # the processes are there
    texts = [rf"\boxed{{{number}}}" for number in range(50)]
    began = time.monotonic()
    verdicts = reward.verdicts(
        [""] * 51,
        [*texts[:25], HANGING[bad], *texts[25:]],
        answer=[*map(str, range(25)), "42", *map(str, range(25, 50))],
    )
    assert [verdict.reward for verdict in verdicts] == [1.0] * 25 + [0.0] + [1.0] * 25
    assert verdicts[25].answer is None
    # Two seconds until the limit, and a new process: not the limit over again for the others.
    assert time.monotonic() - began < 15


def test_hostile_text_before_a_box_costs_nothing(reward):
    texts = ["$" * 100_000 + r"\boxed{7}", "9^{9^{9^9}} is large. " * 20 + r"\boxed{7}", r"\frac{" * 300 + r"\boxed{7}"]
    assert scores(reward, [("7", text) for text in texts]) == [1.0] * 3
