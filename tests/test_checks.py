"""Checks of option values: what passes, what is refused, and that every refusal is a ValueError naming the option."""

import ast
import math
import sys
from pathlib import Path

import pytest

import entroshape
from entroshape import checks
from entroshape.checks import check_choice, check_flag, check_integer, check_number


def test_the_checks_need_the_standard_library_alone():
    tree = ast.parse(Path(checks.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in names)


@pytest.mark.parametrize("value", [True, False, 2.0, "3", None, math.nan, 0, -1, 10**400])
def test_an_integer_is_an_int_within_its_bounds(value):
    with pytest.raises(ValueError, match="steps must be a whole number from 1 to 9; got"):
        check_integer("steps", value, minimum=1, maximum=9)


def test_the_bounds_of_an_integer_count():
    check_integer("steps", 1, minimum=1, maximum=9)
    check_integer("steps", 9, minimum=1, maximum=9)
    check_integer("steps", 10**400, minimum=1)


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, -math.inf, -0.1, 1.1, 10**400, [1.0]])
def test_a_number_is_finite_and_within_its_bounds(value):
    with pytest.raises(ValueError, match=r"share must be a finite number in \[0, 1\]; got"):
        check_number("share", value, minimum=0.0, maximum=1.0)


def test_the_bounds_of_a_number_count_unless_exclusive():
    check_number("share", 0, minimum=0.0, maximum=1.0)
    check_number("share", 1.0, minimum=0.0, maximum=1.0)
    for value in (0, 1.0):
        with pytest.raises(ValueError, match=r"share must be a finite number in \(0, 1\)"):
            check_number("share", value, minimum=0.0, maximum=1.0, exclusive=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_without_bounds_is_finite(value):
    with pytest.raises(ValueError, match="share must be a finite number; got"):
        check_number("share", value)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_is_a_bool(value):
    check_flag("gate", True)
    with pytest.raises(ValueError, match="gate must be True or False; got"):
        check_flag("gate", value)


@pytest.mark.parametrize("value", ["Column", None, 3, ["column"]])
def test_a_choice_is_one_of_the_names(value):
    check_choice("axis", "column", ("column", "row"))
    with pytest.raises(ValueError, match="axis must be one of 'column', 'row'; got"):
        check_choice("axis", value, ("column", "row"))


def test_integer_checks_are_written_once():
    """An ``isinstance(x, int)`` beside an ``isinstance(x, bool)`` is a check that belongs into the module."""
    package = Path(entroshape.__file__).parent
    # A JSON record's number may be any int or float: that is no check of an option.
    elsewhere = {package / "checks.py", package / "tasks" / "jsonl.py"}
    for path in set(package.rglob("*.py")) - elsewhere:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not ("bool" in line and "int)" in line and "isinstance" in line), f"{path}: {line}"
