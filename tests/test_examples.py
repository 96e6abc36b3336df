"""The examples run as their pages say, and stay short enough to read."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LOOP = Path(__file__).resolve().parents[1] / "examples" / "gtpo_loop.py"


def test_the_loop_is_at_most_150_lines_and_needs_no_trainer():
    text = LOOP.read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"^(import|from) (trl|accelerate|verl|entroshape\.engines)", text, re.MULTILINE)


def test_the_loop_prints_finite_figures_of_every_step():
    done = subprocess.run(
        [sys.executable, str(LOOP), "--steps", "2"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    for line in lines:
        figures = dict(re.findall(r"(loss|success|entropy|tokens) (\S+)", line))
        assert set(figures) == {"loss", "success", "entropy", "tokens"}
        assert all(math.isfinite(float(value)) for value in figures.values())
