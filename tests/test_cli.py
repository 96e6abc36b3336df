"""The ``entroshape`` command: what it lists, and how it answers what it does not know."""

import re
import shlex
from pathlib import Path

import pytest

from entroshape.cli import COMMANDS, EXAMPLES, main
from entroshape.evaluation.options import parse_eval
from entroshape.experiments.options import parse_compare
from entroshape.report.options import parse_inspect, parse_report
from entroshape.training.options import parse_train
from entroshape.weights.options import parse_merge

PARSERS = {
    "train": parse_train, "eval": parse_eval, "compare": parse_compare,
    "merge": parse_merge, "inspect": parse_inspect, "report": parse_report,
}  # fmt: skip


def status(arguments):
    try:
        return main(arguments)
    except SystemExit as done:
        return done.code


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_help_lists_every_command_with_its_summary_and_the_examples(arguments, capsys):
    assert main(arguments) == 0
    listed = dict(re.findall(r"^  (\w+) +(.*)$", capsys.readouterr().out.partition("examples:")[0], re.MULTILINE))
    assert listed == {name: command.summary for name, command in COMMANDS.items()}
    main(arguments)
    assert capsys.readouterr().out.endswith(EXAMPLES)


def test_every_example_of_the_help_parses(monkeypatch, tmp_path):
    monkeypatch.chdir(Path(__file__).parents[1])
    examples = [shlex.split(re.split(r" {3,}", line.strip())[0]) for line in EXAMPLES.splitlines()[1:]]
    assert {words[1] for words in examples} == COMMANDS.keys()
    for _, command, *options in examples:
        if "--resume" not in options:  # needs the run
            PARSERS[command](options)


@pytest.mark.parametrize(
    ("given", "nearest"),
    [
        ("trian", "train"),
        ("Report", "report"),
        ("evaluate", "eval"),
        ("comparse", "compare"),
        ("--versoin", "--version"),
    ],
)
def test_a_mistyped_command_is_answered_with_the_nearest_one(given, nearest, capsys):
    assert main([given, "--steps=1"]) == 2
    said = capsys.readouterr()
    assert f"unknown command {given!r}: did you mean {nearest}? Choose from train, eval" in said.err
    assert not said.out


@pytest.mark.parametrize("given", ["zzz", "", "\x1b[31m"])
def test_a_command_like_no_other_is_answered_with_all(given, capsys):
    assert main([given]) == 2
    choices = "train, eval, compare, merge, inspect, report"
    assert capsys.readouterr().err == f"entroshape: unknown command {given!r}; choose from {choices}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own(command, capsys):
    assert status([command, "--help"]) == 0
    assert f"usage: entroshape {command} " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "report"])
def test_a_run_is_named_by_position_once(command, capsys, tmp_path):
    for arguments, word in (([], "RUN"), (["a", "b"], "b"), (["a", "--now"], "--now")):
        assert status([command, *arguments]) == 2
        assert word in capsys.readouterr().err
    assert main([command, str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
