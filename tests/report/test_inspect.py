"""Credit in the terminal: every token with its value, and nothing in a rollout that could do anything to a terminal."""

import io
import re
import unicodedata

import pytest
from report_inputs import make_run, rollout_rows
from rich.console import Console

from entroshape.cli import main
from entroshape.report.inspect import Scale, inspect
from entroshape.report.options import InspectConfig

HOSTILE = ["\x1b[31mred", "[bold]x[/bold]", "</script>", "\u202eabc", "👩‍👩‍👧", "", "\n", "\x07", "é\u0301"]


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run", steps=3)
    run.write_rollouts(1, rollout_rows(1))
    run.write_rollouts(3, rollout_rows(3, groups=2))
    return run


def printed(config, **options):
    console = Console(file=io.StringIO(), width=200, **options)
    inspect(config, console)
    return console.file.getvalue()


def test_without_colour_every_token_stands_with_its_value(run):
    text = printed(InspectConfig(run=str(run.path)))
    row = run.read_rollouts(3)[0]
    for token, value in zip(row["tokens"], row["advantage"], strict=True):
        assert f"{token}({value:.3g})" in text
    assert "step 3, prompt 1 of 2" in text
    assert "1 success reward 1" in text
    assert "2 failure reward 0" in text
    assert "next: --group 2, --step 1, --show entropy, --show shaped_reward, --list" in text


def test_with_colour_every_token_has_the_colour_of_its_value(run):
    text = printed(InspectConfig(run=str(run.path), show="entropy"), color_system="truecolor", force_terminal=True)
    row = run.read_rollouts(3)[0]
    scale = Scale("entropy", [value for each in run.read_rollouts(3)[:4] for value in each["entropy"]])
    for value in row["entropy"]:
        assert "48;2;{};{};{}m".format(*scale.colour(value)) in text


def test_steps_and_groups_are_listed(run):
    text = printed(InspectConfig(run=str(run.path), list=True, step=1))
    assert "step 1; kept steps: 1, 3" in text
    assert text.count("1 of 4") == 3


def test_long_groups_are_cut_and_it_is_said_how_to_see_the_rest(run):
    text = printed(InspectConfig(run=str(run.path), responses=1, tokens=2))
    assert "and 4 more tokens" in text
    assert "and 3 more completions: --responses 4" in text
    assert "failure" not in text


@pytest.mark.parametrize("colour", [None, "truecolor"])
def test_nothing_in_a_rollout_reaches_the_terminal_as_a_command(colour, tmp_path):
    run = make_run(tmp_path / "run", steps=1)
    rows = rollout_rows(1, groups=1, length=len(HOSTILE), token=lambda row, column: HOSTILE[column % len(HOSTILE)])
    run.write_rollouts(1, [{**row, "prompt": "".join(HOSTILE)} for row in rows])
    for options in ({}, {"list": True}):
        text = printed(InspectConfig(run=str(run.path), **options), color_system=colour, force_terminal=bool(colour))
        assert "\\x1b[31mred" in text
        assert "[bold]x[/bold]" in text
        assert "\x1b[31mred" not in text
        plain = text if colour is None else ""
        assert not [c for c in plain if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c != "\n"]


def test_gated_groups_say_so(tmp_path):
    run = make_run(tmp_path / "run", steps=1)
    run.write_rollouts(1, [{**row, "gated": True, "advantage": [0.0] * len(row["tokens"])} for row in rollout_rows(1)])
    assert "gated: all completions of the group have this outcome" in printed(InspectConfig(run=str(run.path)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step=2"], "no rollouts of step 2; available steps: 1, 3"),
        (["--group=9"], "group must be one of the 2 of step 3; got 9"),
    ],
)
def test_what_is_not_there_is_refused(run, options, message, capsys):
    assert main(["inspect", str(run.path), *options]) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_no_rollouts_and_no_such_quantity_are_refused(tmp_path):
    run = make_run(tmp_path / "run", steps=1)
    with pytest.raises(ValueError, match="has no rollouts: train with --rollouts-every"):
        inspect(InspectConfig(run=str(run.path)), Console())
    run.write_rollouts(1, [{**row, "entropy": []} for row in rollout_rows(1)])
    with pytest.raises(ValueError, match="have no entropy; choose another quantity"):
        inspect(InspectConfig(run=str(run.path), show="entropy"), Console())
    with pytest.raises(ValueError, match="must be the directory of a run"):
        inspect(InspectConfig(run=str(tmp_path / "none")), Console())
