"""What the credit viewer is given: every token of the kept rollouts, within a budget."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_inputs import make_run, rollout_rows

from entroshape.report import write_report
from entroshape.report.credit import by_halves, compact, credit_data, groups_of
from entroshape.report.html import embedded_json


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", steps=3)


def test_every_token_of_every_response_can_be_read_back(run):
    rows = rollout_rows(2)
    run.write_rollouts(2, rows)
    data = json.loads(json.dumps(credit_data(run)))
    (step,) = data["steps"]
    assert step["step"] == 2
    responses = [response for group in step["groups"] for response in group["responses"]]
    assert [group["prompt"] for group in step["groups"]] == [f"prompt {i} of step 2" for i in range(3)]
    for row, response in zip(rows, responses, strict=True):
        assert [data["tokens"][place][0] for place in response["tokens"]] == row["tokens"]
        assert [data["tokens"][place][1] for place in response["tokens"]] == row["token_ids"]
        for name in ("entropy", "shaped_reward", "advantage"):
            assert response[name] == pytest.approx(row[name], rel=1e-3)
        assert (response["reward"], response["success"], response["gated"]) == (row["reward"], row["success"], False)
    assert data["left_out"] == {"steps": 0, "groups": 0, "responses": 0}


def test_a_run_without_rollouts_has_nothing_to_show(run):
    assert credit_data(run)["steps"] == []


def test_responses_keep_to_their_group_whatever_their_order():
    rows = rollout_rows(1)
    shuffled = rows[::2] + rows[1::2]
    assert [[row["prompt"] for row in group] for group in groups_of(shuffled)] == [
        [f"prompt {i} of step 1"] * 4 for i in range(3)
    ]


def test_credit_of_a_whole_response_is_one_number(run):
    rows = rollout_rows(1, credit=lambda row, column: 0.25)
    run.write_rollouts(1, [{**row, "entropy": []} for row in rows])
    response = credit_data(run)["steps"][0]["groups"][0]["responses"][0]
    assert (response["advantage"], response["entropy"]) == (0.25, None)


def test_a_response_of_one_token_is_a_list_of_one():
    assert compact([0.5]) == [0.5]


def test_steps_that_do_not_fit_are_counted_and_the_ends_are_kept(run):
    for step in range(1, 12):
        run.write_rollouts(step, rollout_rows(step))
    whole = len(embedded_json(credit_data(run)["steps"]))
    data = credit_data(run, budget=whole // 3)
    kept = [step["step"] for step in data["steps"]]
    assert {1, 11} <= set(kept)
    assert kept == sorted(kept)
    assert data["left_out"]["steps"] == 11 - len(kept) > 0
    assert len(embedded_json(data["steps"])) <= whole // 3


def test_of_a_step_that_is_too_large_by_itself_whole_groups_are_kept(run):
    run.write_rollouts(1, rollout_rows(1, groups=10))
    whole = len(embedded_json(credit_data(run)["steps"]))
    data = credit_data(run, budget=whole // 2)
    groups = data["steps"][0]["groups"]
    assert data["left_out"]["groups"] == 10 - len(groups) > 0
    assert all(len(group["responses"]) == 4 for group in groups)


def test_of_a_group_that_is_too_large_by_itself_at_least_one_response_is_kept(run):
    run.write_rollouts(1, rollout_rows(1, groups=1, length=500))
    data = credit_data(run, budget=100)
    assert len(data["steps"][0]["groups"][0]["responses"]) == 1
    assert data["left_out"] == {"steps": 0, "groups": 0, "responses": 3}


WIDE = {
    "Chinese": lambda row, column: chr(0x4E00 + (997 * row + column) % 20_000),
    "markup": lambda row, column: f"<{row}&{column}>",
    "one letter": lambda row, column: "a",
}


@pytest.mark.parametrize("token", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize("shape", [(1, 16), (8, 2)], ids=["one group", "groups"])
def test_rollouts_keep_to_the_budget_as_they_stand_in_the_page_whatever_their_tokens(run, token, shape):
    groups, size = shape
    for step in (1, 2, 3):
        run.write_rollouts(step, rollout_rows(step, groups=groups, size=size, length=120, token=token))
    whole = credit_data(run)
    for share in (0.1, 0.5, 0.9):
        budget = int(share * len(embedded_json(whole)))
        data = credit_data(run, budget=budget)
        assert 0.4 * budget < len(embedded_json(data)) <= budget + 100
        used = {place for step in data["steps"] for group in step["groups"] for each in group["responses"]
                for place in each["tokens"]}  # fmt: skip
        assert used == set(range(len(data["tokens"])))  # no token of what was left out


@pytest.mark.slow
def test_a_report_of_160000_distinct_tokens_stays_below_5_mb(run):
    rows = rollout_rows(3, groups=1, size=16, length=10_000, token=lambda row, column: f"<<<{row}{column}>>>")
    run.write_rollouts(3, [{**row, "token_ids": list(range(len(row["tokens"])))} for row in rows])
    assert write_report(run.path).stat().st_size < 5_000_000


@given(st.integers(0, 40), st.integers(1, 40))
def test_any_first_few_steps_are_spread_over_the_run(total, first):
    order = by_halves(list(range(total)))
    assert sorted(order) == list(range(total))
    chosen = sorted(order[:first])
    if len(chosen) > 2:
        assert {0, total - 1} <= set(chosen)
        gaps = [b - a for a, b in pairwise(chosen)]
        assert max(gaps) <= 2 * min(gaps) + 1
