"""The verifier beside math-verify's own ``parse`` and ``verify``, and beside what is true."""

import json
from pathlib import Path

import pytest
from math_verify import parse, verify

from entroshape.tasks.math_verifier import MathReward

pytestmark = pytest.mark.slow

FIXTURES = Path(__file__).parent / "fixtures"
FORMS = json.loads((FIXTURES / "forms.json").read_text())
PAIRS = [tuple(pair) for pairs in FORMS.values() for pair in pairs]
GOLD = {
    "AIME": ["204", "25", "809", "073", "385", "1", "0", "999"],
    "GSM8K": ["18", "3", "70000", "540", "1,450", "-5", "0.5", "2.25"],
    "MATH": [
        "\\left( 3, \\frac{\\pi}{2} \\right)", "p - q", "\\frac{14}{3}", "\\text{Evelyn}", "90^\\circ", "3\\sqrt{13}",
        "2220", "-50", "x^3+3x-6", "\\sqrt{51}", "6 - 5i", "10\\%", "\\$32,\\!348", "[-2,7]", "1,-2", "\\text{(C)}",
        "(-\\infty,-1]\\cup[2,\\infty)", "\\begin{pmatrix} -1/3 \\\\ 2/3 \\\\ 5/3 \\end{pmatrix}", "11\\sqrt2",
        "\\frac{1}{2}\\text{ cm}", "y = -\\frac{5}{2}x", "52_8", "\\dfrac{5\\pi}{6}", "5.4 \\text{ cents}",
        "x \\in [-2,7]",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def reward():
    reward = MathReward(workers=2)
    yield reward
    reward.close()


def ours(reward, pairs):
    gold, answers = zip(*pairs, strict=True)
    return dict(
        zip(pairs, reward([""] * len(pairs), [f"\\boxed{{{each}}}" for each in answers], answer=gold), strict=True)
    )


def theirs(gold, answer):
    return float(verify(parse(f"\\boxed{{{gold}}}"), parse(f"\\boxed{{{answer}}}")))


def test_equivalent_forms_are_right_and_others_are_wrong(reward):
    for name, score in (("equivalent", 1.0), ("different", 0.0)):
        pairs = [tuple(pair) for pair in FORMS[name]]
        assert len(pairs) > 50
        assert {pair: value for pair, value in ours(reward, pairs).items() if value != score} == {}


def test_every_verdict_on_the_table_is_math_verifys_own(reward):
    assert ours(reward, PAIRS) == {pair: theirs(*pair) for pair in PAIRS}


@pytest.mark.parametrize("source", GOLD)
def test_gold_answers_are_right_for_us_as_for_math_verify(reward, source):
    pairs = [(gold, gold) for gold in GOLD[source]]
    assert ours(reward, pairs) == {pair: theirs(*pair) for pair in pairs} == dict.fromkeys(pairs, 1.0)


def test_right_answers_are_one_vote_however_they_are_written(reward):
    pairs = [tuple(pair) for pair in FORMS["equivalent"]]
    verdicts = reward.verdicts(
        [""] * len(pairs), [f"\\boxed{{{answer}}}" for _, answer in pairs], answer=[gold for gold, _ in pairs]
    )
    assert [verdict.answer for verdict in verdicts] == [gold for gold, _ in pairs]


@pytest.mark.parametrize(
    ("forms", "answer"),
    [
        (["0.5", "\\frac{1}{2}", "\\frac12", "1/2", "0.50", "x = 0.5", "\\frac{2}{4}"], "1/2"),
        (["15\\%", "0.15"], "3/20"),
        (["12", "3 \\cdot 4", "12.0"], "12"),
        (["\\sqrt{18}", "3\\sqrt{2}"], "3*sqrt(2)"),
        (["1,2", "2,1", "\\{1, 2\\}"], "{1, 2}"),
        (["\\text{Monday}", "\\textbf{monday}"], "monday"),
    ],
)
def test_wrong_answers_are_one_vote_in_their_usual_forms(reward, forms, answer):
    verdicts = reward.verdicts(
        [""] * len(forms), [f"So \\boxed{{{form}}}" for form in forms], answer=["42"] * len(forms)
    )
    assert {(verdict.reward, verdict.answer) for verdict in verdicts} == {(0.0, answer)}


def test_no_answer_is_no_vote(reward):
    texts = ["", "I do not know.", "\\boxed{}"]
    assert [tuple(verdict) for verdict in reward.verdicts([""] * 3, texts, answer=["42"] * 3)] == [(0.0, None)] * 3
