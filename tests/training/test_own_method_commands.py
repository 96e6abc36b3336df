"""The example of "Your own method" through the command line, as its page says."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from entroshape import build_method
from entroshape.cli import main
from entroshape.methods import method_name
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "my_method.py"
SMALL = [
    "--prompts-per-step=4",
    "--num-generations=8",
    "--train-size=200",
    "--eval-problems=8",
    "--eval-samples=2",
    "--device=cpu",
    "--max-refills=1",
    "--threads=1",
]
OWN = ["--method=my_method:Uncertain", "--method-options", "alpha=0.5"]


@pytest.fixture(autouse=True)
def beside_the_example(monkeypatch):
    monkeypatch.chdir(EXAMPLE.parent)
    monkeypatch.setattr(sys, "path", [str(EXAMPLE.parent), *sys.path])


def test_the_example_is_20_lines_and_the_page_shows_it():
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 20
    page = (ROOT / "docs" / "your-own-method.md").read_text()
    assert "literalinclude} ../examples/my_method.py" in page
    assert "entroshape train --method my_method:Uncertain" in page


def test_the_command_line_trains_with_it_resumes_it_and_reports_it(tmp_path, capsys):
    path = tmp_path / "run"
    own = [*SMALL, *OWN, "--save-every=1", "--rollouts-every=1"]
    assert main(["train", *own, "--steps=2", f"--output={path}"]) == 0
    run = RunDirectory.open(path)
    assert run.read_config()["method"] == "my_method:Uncertain"
    assert run.read_config()["method_options"] == {"alpha": 0.5}
    assert "my_method:Uncertain" in (path / "report.html").read_text()
    weights = (path / "model" / "model.safetensors").read_bytes()

    # As if the run had been stopped after its first step.
    shutil.rmtree(path / "model")
    shutil.rmtree(run.latest_checkpoint())
    assert main(["train", f"--resume={path}"]) == 0
    assert (path / "model" / "model.safetensors").read_bytes() == weights

    assert main(["inspect", str(path), "--show=advantage"]) == 0
    assert main(["report", str(path)]) == 0
    to = f"--output={tmp_path}/eval.parquet"
    assert main(["eval", f"--model={path}/model", "--problems=4", "--samples=2", to]) == 0


def test_a_comparison_has_it_as_an_arm(tmp_path):
    folder = tmp_path / "comparison"
    methods = "my_method:Uncertain:alpha=0.5,sum:terms=[{method: gtpo, weight: 0.5}, {method: dapo}]"
    command = ["compare", f"--methods={methods}", "--seeds=1", "--parallel=1", "--steps=1", *SMALL]
    assert main([*command, f"--output={folder}"]) == 0
    content = json.loads((folder / "comparison.json").read_text())
    arms = ["my_method:Uncertain:alpha=0.5", 'sum:terms=[{"method":"gtpo","weight":0.5},{"method":"dapo"}]']
    assert content["arms"] == [record["arm"] for record in content["records"]] == arms
    assert "my_method:Uncertain:alpha=0.5" in (folder / "comparison.html").read_text()
    assert main(["compare", f"--output={folder}", "--seeds=1"]) == 0  # reads the arms from the file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method=gpto"], r"got 'gpto': did you mean gtpo\?"),
        (["--method=grpo_s", "--method-options", "alpha2=0.2"], r"unknown option 'alpha2' .*did you mean beta2\?"),
        (["--method=my_method:Uncertan"], "has no 'Uncertan'; did you mean Uncertain"),
        (["--method=my_method:Uncertain", "--method-options", "alpha=high"], "alpha .* must be a finite number"),
    ],
)
def test_a_typo_on_the_command_line_is_refused_before_anything_is_written(tmp_path, capsys, arguments, message):
    assert main(["train", *SMALL, *arguments, f"--output={tmp_path / 'run'}"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_the_name_is_that_of_its_module_and_class():
    assert method_name(build_method("my_method:Uncertain")) == "my_method:Uncertain"
