"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest

from entroshape.assets import bundled_model_path

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_trl_script_runs_with_a_local_model(tmp_path, monkeypatch):
    (script,) = re.findall(r"```python\n(from datasets.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert "Qwen/Qwen2.5-0.5B" in script
    monkeypatch.chdir(tmp_path)
    names = {}
    script = script.replace("Qwen/Qwen2.5-0.5B", str(bundled_model_path())).replace(
        'Config("out"', 'Config("out", use_cpu=True'
    )
    exec(script, names)
    logged = [row for row in names["trainer"].state.log_history if "entroshape/success_rate" in row]
    assert logged or names["trainer"].state.global_step > 0
    assert names["trainer"].method.name == "gtpo"


def test_every_link_to_a_file_leads_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
