"""The comparison's page in a real browser: forest plot, curves and table drawn, hostile names as text."""

import json
import re
import shutil
import subprocess

import pytest

from entroshape.experiments import Comparison, parse_arms
from entroshape.experiments.page import page_data, write_page
from entroshape.experiments.table import comparison_table
from entroshape.training.config import TrainConfig

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    "--virtual-time-budget=5000", "--window-size=1280,2400", "--dump-dom",
]  # fmt: skip

HOSTILE = "gtpo:task=</script><img src=x onerror=document.title='owned'>"


def record(arm, seed, shift=0.0):
    curve = [min(1.0, 0.1 + shift + 0.02 * step + 0.01 * seed) for step in range(1, 31)]
    passes = [0.3 + shift, 0.4 + shift, 0.5 + shift, 0.6 + shift]
    after = {"mean@4": passes[0] + 0.001 * seed**2, "pass@1": passes[0], "pass@4": passes[3] + 0.01 * seed}
    after |= {"entropy": 0.3 - shift, "length": 20.0, "problems": 8.0, "samples": 4.0}
    return {
        "arm": arm,
        "seed": seed,
        "steps": 30,
        "before": {"mean@4": 0.1, "pass@1": 0.1, "pass@4": 0.5, "entropy": 0.3, "length": 20.0},
        "after": after,
        "pass_curve": passes,
        "curves": {
            "step": list(range(1, 31)),
            "success_rate": curve,
            "entropy": [0.3 - 0.2 * value for value in curve],
            "entropy_success": [None, *curve[1:]],
        },
        "evaluations": {},
        "seconds": 10.0,
        "environment": None,
    }


def compared(arms=("dapo", "gtpo", "grpo_s"), seeds=3):
    records = [record(arm, seed, 0.05 * place) for place, arm in enumerate(arms) for seed in range(seeds)]
    return Comparison(base=TrainConfig(), arms=parse_arms(list(arms)), baseline=arms[0], records=records)


def opened(path, profile):
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", path.resolve().as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the path")


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(
    ("arms", "seeds"),
    [(("dapo", "gtpo", "grpo_s"), 3), (("dapo", "gtpo"), 1), (("dapo",), 2), (("dapo", HOSTILE, "grpo"), 2)],
    ids=["three methods", "one seed", "one arm", "hostile name"],
)
def test_everything_is_drawn_without_a_word_on_the_console(arms, seeds, tmp_path):
    dom, console = opened(write_page(compared(arms, seeds), tmp_path), tmp_path / "profile")
    assert console == []
    main = dom.partition("<main>")[2].partition("<footer>")[0]
    for title in ("Pass@k on held-out problems", "Success rate", "Entropy", "Entropy of successes"):
        card = re.search(rf"<h3>{re.escape(title)}</h3>.*?(<svg.*?</svg>)", main, re.DOTALL)
        assert re.search(r'<path [^>]*d="M', card[1])
    assert "NaN" not in main
    assert main.count('<th scope="row">') >= len(arms)
    assert ("Nothing to hold against" in main) == (len(arms) == 1)
    assert "<img" not in main
    assert "owned" not in dom.partition("</title>")[0]


def test_the_page_holds_what_the_statistics_say():
    data = page_data(compared())
    gtpo = data["arms"][1]
    assert gtpo["differences"]["pass@4"]["mean"] == pytest.approx(0.05)
    assert gtpo["seeds"]["pass@4"] == pytest.approx([0.05] * 3)
    assert [point["x"] for point in gtpo["pass"]] == [1, 2, 3, 4]
    first, last = gtpo["curves"]["success_rate"][0], gtpo["curves"]["success_rate"][-1]
    assert first["low"] < first["mean"] < first["high"] < last["mean"]
    json.dumps(data, allow_nan=False)


def test_one_seed_has_no_band():
    point = page_data(compared(seeds=1))["arms"][0]["curves"]["success_rate"][0]
    assert point["low"] == point["mean"] == point["high"]


def test_the_terminal_says_what_stands_and_what_one_seed_is_worth(capsys):
    from rich.console import Console

    Console(width=160).print(comparison_table(compared()))
    assert "+5.0% to +5.0%" in capsys.readouterr().out
    Console(width=160).print(comparison_table(compared(seeds=1)))
    assert "One seed says nothing about the others" in capsys.readouterr().out
