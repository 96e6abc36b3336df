"""CONTRIBUTING points at real files, and for each equation of the paper at a definition that names it."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| Eq\. ([\d, ]+):.*\| `(\w+)` \| `([\w/]+\.py)` \|$", PAGE, re.M)


LAYOUT = PAGE.partition("| where | what |")[2].partition("\n\n")[0]


def test_the_layout_names_files_that_exist_and_every_package():
    package = ROOT / "src" / "entroshape"
    first = [row.split("|")[1] for row in LAYOUT.splitlines() if row.startswith("| `")]
    named = [path for column in first for path in re.findall(r"`([\w/.]+)`", column)]
    assert [path for path in re.findall(r"`([\w/.]+(?:/|\.py))`", LAYOUT) if not (package / path).exists()] == []
    packages = {file.parent.name for file in package.glob("*/__init__.py")} - {"assets"}
    assert packages == {path.split("/")[0] for path in named if "/" in path}


def test_every_equation_of_the_credit_stands_in_the_table_once():
    numbers = [int(number) for equations, _, _ in ROWS for number in equations.split(",")]
    assert sorted(numbers) == [3, 5, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize(("equations", "function", "file"), ROWS)
def test_the_table_points_at_a_definition_that_names_its_equation(equations, function, file):
    source = (ROOT / "src" / "entroshape" / file).read_text(encoding="utf-8")
    assert len(re.findall(rf"^def {function}\(", source, re.M)) == 1
    module = importlib.import_module("entroshape." + file.removesuffix(".py").replace("/", "."))
    documented = set(re.findall(r"\d+", " ".join(re.findall(r"Eq\. [\d, and]+", getattr(module, function).__doc__))))
    assert set(equations.replace(" ", "").split(",")) <= documented
