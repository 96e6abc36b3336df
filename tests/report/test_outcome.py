from io import StringIO

from rich.console import Console

from entroshape.report import summary_table
from entroshape.report.outcome import outcome_rows

BEFORE = {
    "mean@16": 0.095, "mean@16_low": 0.08, "mean@16_high": 0.11, "pass@1": 0.095, "pass@4": 0.28, "pass@4_low": 0.25,
    "pass@4_high": 0.32, "pass@16": 0.6, "pass@16_low": 0.55, "pass@16_high": 0.66, "reward": 0.095, "length": 23.14,
    "share_cut": 0.0, "entropy": 0.331, "problems": 256.0, "samples": 16.0,
}  # fmt: skip
AFTER = {**BEFORE, "mean@16": 0.197, "pass@1": 0.197, "reward": 0.197, "entropy": 0.2, "share_cut": 1 / 64}


def printed(table, width):
    console = Console(width=width, file=StringIO())
    console.print(table)
    return console.file.getvalue()


def test_the_rows_read_from_the_headline_down():
    labels = [row.label for row in outcome_rows(BEFORE, AFTER)]
    assert labels == [
        "Mean@16 = Pass@1", "Pass@4", "Pass@16", "Entropy (nats per token)", "Length (tokens)", "Cut at the limit",
    ]  # fmt: skip


def test_the_reward_is_shown_where_it_is_not_the_success_rate():
    assert "Reward" in [row.label for row in outcome_rows(BEFORE, {**AFTER, "reward": 0.25})]


def test_changes_without_intervals_are_plain_differences_and_never_clear():
    row = outcome_rows(BEFORE, AFTER)[0]
    assert (row.change, row.change_interval, row.clear) == ("+10.2", "", False)


def test_a_change_is_clear_where_its_interval_excludes_0():
    changes = {
        "mean@16": {"value": 0.102, "low": 0.09, "high": 0.12},
        "pass@4": {"value": 0.0, "low": -0.01, "high": 0.01},
    }
    rows = outcome_rows(BEFORE, AFTER, changes)
    assert (rows[0].change_interval, rows[0].clear) == ("+9.0 to +12.0", True)
    assert (rows[1].change, rows[1].change_interval, rows[1].clear) == ("+0.0", "-1.0 to +1.0", False)


def test_metrics_that_one_side_lacks_are_left_blank():
    rows = {row.label: row for row in outcome_rows(BEFORE, {"mean@32": 0.2, "length": 20.0})}
    assert (rows["Mean@32 = Pass@1"].before, rows["Mean@32 = Pass@1"].after) == ("-", "20.0 %")
    assert rows["Pass@16"].after == rows["Pass@16"].change == "-"


def test_tiny_negative_changes_are_no_negative_zero():
    assert outcome_rows(BEFORE, {**BEFORE, "length": BEFORE["length"] - 1e-4})[4].change == "+0.0"


def test_the_terminal_table_holds_every_row_and_says_what_it_is_of():
    text = printed(summary_table(BEFORE, AFTER), width=80)
    assert "256 held-out problems, 16 completions each" in text
    for part in ("Mean@16", "9.5 %", "8.0 to 11.0", "19.7 %", "+10.2", "0.331", "-0.131", "1.6 %"):
        assert part in text


def test_the_terminal_table_fits_80_columns_without_breaking_a_cell():
    changes = {"pass@16": {"value": -0.02, "low": -0.105, "high": 0.065}}
    lines = printed(summary_table(BEFORE, AFTER, changes=changes), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("Mean@16 = Pass@1" in line and "+10.2" in line for line in lines)
    assert any("-10.5 to +6.5" in line for line in lines)
