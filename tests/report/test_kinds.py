"""Credit by kind of token: against plain loops, in the terminal, and to the digit the same as in metrics and report."""

import io
import json
import math
import re

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from report_inputs import make_run, rollout_rows
from rich.console import Console

from entroshape.engines.kind_metrics import TokenMarks, kind_metrics
from entroshape.methods import Credit
from entroshape.metrics.wording import wording
from entroshape.report import write_report
from entroshape.report.credit import credit_data
from entroshape.report.data import chart_data
from entroshape.report.inspect import InspectConfig, inspect
from entroshape.report.kinds import DECISIONS, FIRST_ERROR, credit_by_kind, kind_texts

VALUES = st.floats(-10, 10, allow_nan=False, width=32)
POSITIVE = st.floats(0.0078125, 5, width=32)


@st.composite
def rollouts(draw):
    rows, known, weighted, marked = [], *(draw(st.booleans()) for _ in range(3))
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(0, 5))
        kinds, advantages, entropies, weights, decisions = (
            draw(st.lists(values, min_size=length, max_size=length))
            for values in (st.sampled_from("abc"), VALUES, POSITIVE, POSITIVE, st.booleans())
        )
        success = draw(st.booleans())
        error = draw(st.integers(0, length - 1)) if length and not success else None
        rows.append(
            {
                "tokens": ["x"] * length, "kind": kinds, "advantage": advantages, "success": success,
                "gated": draw(st.booleans()), "entropy": entropies if known else [], "shaped_reward": advantages,
            }
            | ({"weight": weights} if weighted else {})
            | ({"decision": decisions, "first_error": [k == error for k in range(length)]} if marked else {})
        )  # fmt: skip
    return rows


def tokens_of(rows):
    """(kind, row, column) of every token."""
    return [(row["kind"][k], row, k) for row in rows for k in range(len(row["kind"]))]


def mean(values):
    return math.fsum(values) / len(values) if values else None


def by_loops(own, whole):
    """What a row of the table holds."""
    credited = [(row, k) for _, row, k in own if not row["gated"]]
    everyone = [(row, k) for _, row, k in whole if not row["gated"]]
    weights = [row["weight"][k] for row, k in credited if "weight" in row]
    whole_weight = math.fsum(row["weight"][k] for row, k in everyone if "weight" in row)
    advantages = [row["advantage"][k] for row, k in credited]
    whole_advantage = math.fsum(abs(row["advantage"][k]) for row, k in everyone)
    return {
        "tokens": len(own),
        "share": len(own) / len(whole),
        "entropy": mean([row["entropy"][k] for _, row, k in own if row["entropy"]]),
        "weight": mean(weights),
        "weight_share": math.fsum(weights) / whole_weight if whole_weight else None,
        "advantage": mean(advantages),
        "advantage_share": math.fsum(map(abs, advantages)) / whole_advantage if whole_advantage else None,
    }


@given(rollouts())
def test_rows_equal_loops_over_all_tokens(rows):
    found = {(row.success, row.kind): row for row in credit_by_kind(rows)}
    expected = {}
    for success in (True, False):
        whole = [token for token in tokens_of(rows) if token[1]["success"] is success]
        parts = {kind: [token for token in whole if token[0] == kind] for kind, _, _ in whole}
        parts[DECISIONS] = [token for token in whole if token[1].get("decision", [False] * 9)[token[2]]]
        parts[FIRST_ERROR] = [token for token in whole if token[1].get("first_error", [False] * 9)[token[2]]]
        expected |= {(success, name): by_loops(own, whole) for name, own in parts.items() if own}
    assert set(found) == set(expected)
    for key, values in expected.items():
        for name, value in values.items():
            got = getattr(found[key], name)
            assert (got is None) == (value is None), (key, name)
            assert value is None or got == pytest.approx(value), (key, name)
        assert found[key].summary == (key[1] in (DECISIONS, FIRST_ERROR))


def tensors_of(rows):
    """The marks, the credit and the entropies of these rollouts, as the engine has them."""
    width = max(len(row["kind"]) for row in rows)
    names = list(dict.fromkeys(kind for kind, _, _ in tokens_of(rows)))

    def matrix(name, empty=0.0):
        return torch.tensor([[*row.get(name, []), *[empty] * (width - len(row.get(name, [])))] for row in rows])

    kinds = [[names.index(kind) for kind in row["kind"]] + [-1] * (width - len(row["kind"])) for row in rows]
    success = torch.tensor([row["success"] for row in rows])
    marked, weighted = "decision" in rows[0], "weight" in rows[0]
    sign = torch.where(success, 1.0, -1.0)[:, None]
    credit = Credit(
        sign + 0.5 * sign * matrix("weight") if weighted else sign.expand(len(rows), width),
        matrix("advantage"),
        torch.tensor(kinds) >= 0,
        success,
        torch.tensor([row["gated"] for row in rows]),
        sign[:, 0] if weighted else None,
        0.5 if weighted else 0.0,
    )
    marks = TokenMarks(
        names=names,
        kinds=torch.tensor(kinds).reshape(len(rows), width),
        decisions=matrix("decision", False).bool() if marked else None,
        first_errors=matrix("first_error", False).bool() if marked else None,
    )
    return marks, credit, matrix("entropy") if rows[0]["entropy"] else None


@given(rollouts())
def test_metrics_of_a_step_are_the_figures_of_its_rollouts(rows):
    rows = [row for row in rows if row["kind"]]
    assume(rows)
    marks, credit, entropies = tensors_of(rows)
    metrics = kind_metrics(marks, credit, entropies)
    named = {}
    found = credit_by_kind(rows)
    for row in found:
        outcome, term = ("success", "bonus") if row.success else ("failure", "penalty")
        values = {"share": row.share, "entropy": row.entropy, "weight": row.weight, "advantage": row.advantage}
        if not row.summary:
            named |= {f"kind/{outcome}/{name}/{row.kind}": value for name, value in values.items()}
        elif row.kind == DECISIONS:
            named[f"{term}_on_decisions"] = row.weight_share
        elif not row.success:
            named |= {
                "penalty_on_first_error": row.weight_share, "first_error_weight": row.weight,
                "first_error_entropy": row.entropy,
            }  # fmt: skip
    named = {name: value for name, value in named.items() if value is not None}
    shares = {"decisions_in_successes", "decisions_in_failures", "first_error_share"}
    zero = {name for name, value in metrics.items() if value == 0 and name not in named}
    assert set(metrics) - shares - zero == set(named) - zero
    for name, value in named.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert all(math.isfinite(value) for value in metrics.values())


def test_shares_of_bonus_and_penalty_are_those_of_the_completions_that_get_credit():
    """Two successes of two tokens each, one of them gated; two failures, whose first false tokens weigh 1 and 3."""
    marks = TokenMarks(
        names=["choice", "copy"],
        kinds=torch.tensor([[0, 1], [0, 1], [0, 1], [0, 1]]),
        decisions=torch.tensor([[True, False]] * 4),
        first_errors=torch.tensor([[False, False], [False, False], [True, False], [False, True]]),
    )
    weights = torch.tensor([[3.0, 1.0], [9.0, 9.0], [1.0, 1.0], [2.0, 3.0]])
    success = torch.tensor([True, True, False, False])
    sign = torch.where(success, 1.0, -1.0)
    shaped = sign[:, None] * (1 + weights)
    gated = torch.tensor([False, True, False, False])
    credit = Credit(shaped, shaped, torch.ones(4, 2, dtype=torch.bool), success, gated, sign, 1.0)
    metrics = kind_metrics(marks, credit, torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.5, 0.0], [0.0, 0.7]]))
    assert metrics["bonus_on_decisions"] == 0.75
    assert metrics["penalty_on_decisions"] == pytest.approx(3 / 7)
    assert metrics["decisions_in_successes"] == metrics["decisions_in_failures"] == 0.5
    assert metrics["penalty_on_first_error"] == pytest.approx(4 / 7)
    assert metrics["first_error_share"] == 0.5
    assert metrics["first_error_weight"] == 2.0
    assert metrics["first_error_entropy"] == pytest.approx(0.6)


def named_rows(step):
    """Rollouts with kinds, weights, decisions and first false tokens."""
    rows = rollout_rows(step)
    for row in rows:
        length = len(row["tokens"])
        row |= {"kind": ["first", "\x1b[31mcopy"] * 9, "weight": [0.5 + 0.1 * k for k in range(length)]}
        row |= {"kind": row["kind"][:length], "decision": [kind == "first" for kind in row["kind"][:length]]}
        row["first_error"] = [k == 2 and not row["success"] for k in range(length)]
    return rows


def test_kinds_survive_the_run_directory_and_stand_in_the_terminal(tmp_path):
    run = make_run(tmp_path / "run", steps=3)
    rows = named_rows(3)
    run.write_rollouts(1, rollout_rows(1))
    run.write_rollouts(3, rows)
    for name in ("kind", "decision", "first_error"):
        assert [row[name] for row in run.read_rollouts(3)] == [row[name] for row in rows]
        assert name not in run.read_rollouts(1)[0]
    console = Console(file=io.StringIO(), width=200)
    inspect(InspectConfig(run=str(run.path), by_kind=True), console)
    text = console.file.getvalue()
    assert all(word in text for word in ("first", "\\x1b[31mcopy", DECISIONS, FIRST_ERROR, "successes", "failures"))
    with pytest.raises(ValueError, match="names no kinds of tokens"):
        inspect(InspectConfig(run=str(run.path), by_kind=True, step=1), console)
    inspect(InspectConfig(run=str(run.path), show="weight"), console)
    with pytest.raises(ValueError, match="have no weight; choose another quantity"):
        inspect(InspectConfig(run=str(run.path), show="weight", step=1), console)


def test_terminal_report_and_charts_show_a_kind_to_the_same_digit(tmp_path):
    run, rows = make_run(tmp_path / "run", steps=3), named_rows(4)
    marks, credit, entropies = tensors_of(rows)
    run.write_rollouts(4, rows)
    run.append_metrics({"step": 4, **kind_metrics(marks, credit, entropies)})
    console = Console(file=io.StringIO(), width=120)
    inspect(InspectConfig(run=str(run.path), by_kind=True), console)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    in_terminal = next(line for line in lines if line and line[0] == "first")  # of successes, which come first
    (step,) = credit_data(run)["steps"]
    in_page = next(row["texts"] for row in step["kinds"] if row["kind"] == "first" and row["success"])
    charts = chart_data(run)["texts"]
    in_charts = [charts[f"kind/success/{name}/first"][-1] for name in ("share", "entropy", "weight", "advantage")]
    assert " ".join(in_terminal[1:]) == " ".join(in_page)
    assert in_charts == [in_page[place] for place in (1, 2, 3, 5)]
    (row,) = (row for row in credit_by_kind(rows) if row.kind == "first" and row.success)
    assert kind_texts(row) == in_page
    assert in_page[2] == wording("kind/success/entropy/first").value(row.entropy)


def test_the_report_holds_the_kinds_of_tokens_and_the_first_false_one(tmp_path):
    run = make_run(tmp_path / "run", steps=3)
    run.write_rollouts(3, named_rows(3))
    page = write_report(run.path).read_text()
    data = json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])["credit"]
    assert data["kinds"] == ["first", "\x1b[31mcopy"]
    success, failure = data["steps"][0]["groups"][0]["responses"][:2]
    assert success["kinds"][:4] == [0, 1, 0, 1]
    assert "first_error" not in success
    assert failure["first_error"] == 2
    assert success["weight"][:2] == [0.5, 0.6]


@pytest.mark.slow
def test_a_long_run_with_many_kinds_is_averaged_so_that_the_report_stays_small(tmp_path):
    run = make_run(tmp_path / "run", steps=900)
    assert chart_data(run)["stretch"] == 1
    run = make_run(tmp_path / "more", steps=900)
    for step in range(901, 1000):
        run.append_metrics({"step": step, **{f"kind/success/share/{kind}": 0.5 for kind in range(110)}})
    assert chart_data(run)["stretch"] == 2


@pytest.mark.parametrize("kinds", [["first"], "ab", None, ["first", 2]])
def test_kinds_that_are_not_one_text_per_token_are_refused(kinds):
    from entroshape.tasks.base import checked_kinds

    with pytest.raises(ValueError, match="token_kinds must return a list of one text per token, 2 of them"):
        checked_kinds(kinds, 2)


@pytest.mark.parametrize("place", [2, -1, "1", 1.0, True])
def test_a_first_error_that_is_no_token_is_refused(place):
    from entroshape.tasks.base import checked_first_error

    with pytest.raises(ValueError, match="first_error must return None or the index of one of 2 tokens"):
        checked_first_error(place, 2)
