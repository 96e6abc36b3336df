"""Credit by kind of token: against plain loops, and in the terminal."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_inputs import make_run, rollout_rows
from rich.console import Console

from entroshape.report.inspect import InspectConfig, inspect
from entroshape.report.kinds import credit_by_kind

VALUES = st.floats(-10, 10, allow_nan=False)


@st.composite
def rollouts(draw):
    rows, known = [], draw(st.booleans())
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(0, 5))
        kinds, rewards, advantages, entropies = (
            draw(st.lists(values, min_size=length, max_size=length))
            for values in (st.sampled_from("abc"), VALUES, VALUES, st.floats(0, 5))
        )
        rows.append(
            {
                "tokens": ["x"] * length, "kind": kinds, "shaped_reward": rewards, "advantage": advantages,
                "entropy": entropies if known else [], "success": draw(st.booleans()),
            }
        )  # fmt: skip
    return rows


@given(rollouts())
def test_rows_equal_loops_over_all_tokens(rows):
    every = []
    for row in rows:
        for k, kind in enumerate(row["kind"]):
            entropy = row["entropy"][k] if row["entropy"] else None
            every.append((kind, row["shaped_reward"][k], row["advantage"][k], entropy, row["success"]))
    found = credit_by_kind(rows)
    assert [row.kind for row in found] == list(dict.fromkeys(token[0] for token in every))
    for row in found:
        own = [token for token in every if token[0] == row.kind]
        assert (row.tokens, row.share) == (len(own), len(own) / len(every))
        for got, values in (
            (row.entropy, [token[3] for token in own if token[3] is not None]),
            (row.success_reward, [token[1] for token in own if token[4]]),
            (row.failure_reward, [token[1] for token in own if not token[4]]),
            (row.success_advantage, [token[2] for token in own if token[4]]),
            (row.failure_advantage, [token[2] for token in own if not token[4]]),
        ):
            assert (got is None) == (not values)
            assert got is None or got == pytest.approx(math.fsum(values) / len(values))
    for shares in ([row.raised for row in found], [row.lowered for row in found]):
        if found and None not in shares:
            assert sum(shares) == pytest.approx(1)
            assert min(shares) >= 0


def test_kinds_survive_the_run_directory_and_stand_in_the_terminal(tmp_path):
    run = make_run(tmp_path / "run", steps=3)
    rows = [{**row, "kind": ["first", "\x1b[31mcopy"] * 9} for row in rollout_rows(3)]
    rows = [{**row, "kind": row["kind"][: len(row["tokens"])]} for row in rows]
    run.write_rollouts(1, rollout_rows(1))
    run.write_rollouts(3, rows)
    assert [row["kind"] for row in run.read_rollouts(3)] == [row["kind"] for row in rows]
    assert "kind" not in run.read_rollouts(1)[0]
    console = Console(file=io.StringIO(), width=200)
    inspect(InspectConfig(run=str(run.path), by_kind=True), console)
    text = console.file.getvalue()
    assert "first" in text
    assert "\\x1b[31mcopy" in text
    with pytest.raises(ValueError, match="names no kinds of tokens"):
        inspect(InspectConfig(run=str(run.path), by_kind=True, step=1), console)


@pytest.mark.parametrize("kinds", [["first"], "ab", None, ["first", 2]])
def test_kinds_that_are_not_one_text_per_token_are_refused(kinds):
    from entroshape.tasks.base import checked_kinds

    with pytest.raises(ValueError, match="token_kinds must return a list of one text per token, 2 of them"):
        checked_kinds(kinds, 2)
