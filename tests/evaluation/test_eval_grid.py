"""``entroshape eval`` over temperatures: the same figures as one at a time, chosen and reported on different halves."""

import json
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from entroshape.cli import main
from entroshape.evaluation import EvaluationResult, evaluation_metrics
from entroshape.evaluation.grid import choices
from entroshape.evaluation.options import EvalConfig

pytestmark = pytest.mark.slow

ARGUMENTS = ["eval", "--samples=4", "--problems=8", "--batch-size=12"]
GRID = "--temperature=1.0,0,0.4"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.parquet"
    assert main([*ARGUMENTS, GRID, f"--output={path}"]) == 0
    return path


def rows(path):
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("temperature", [0, 0.4, 1])
def test_a_temperature_of_a_grid_gives_what_it_gives_alone(whole, tmp_path, temperature):
    path = tmp_path / "alone.parquet"
    assert main([*ARGUMENTS, f"--temperature={temperature}", f"--output={path}"]) == 0
    own = [row for row in rows(whole) if row.pop("temperature") == temperature]
    assert own == rows(path)
    assert len(own) == 8 * (4 if temperature else 1)
    figures = json.loads(pq.read_schema(whole).metadata[b"temperatures"])
    (there,) = [each for each in figures if each["temperature"] == temperature]
    metadata = pq.read_schema(path).metadata
    for name in ("metrics", "intervals", "pass_curve"):
        assert there[name] == json.loads(metadata[name.encode()])


def test_greedy_decoding_samples_each_problem_once_and_has_no_entropy(whole):
    greedy = [row for row in rows(whole) if row["temperature"] == 0]
    assert len(greedy) == len({row["problem"] for row in greedy}) == 8
    assert {row["entropy"] for row in greedy} == {0.0}


def test_a_grid_is_shown_by_temperature_and_not_sampled_again(whole, capsys):
    written = whole.stat().st_mtime_ns
    assert main([*ARGUMENTS, "--temperature=0,0.4,1", f"--output={whole}", "--json"]) == 0
    printed = capsys.readouterr()
    assert "already complete" in printed.err
    assert all(word in printed.err for word in ("greedy", "0.4", "Mean@4", "Pass@4", "chosen on 4 problems"))
    figures = json.loads(printed.out)
    assert whole.stat().st_mtime_ns == written
    assert [each["temperature"] for each in figures["temperatures"]] == [0, 0.4, 1]
    assert [each["samples"] for each in figures["temperatures"]] == [1, 4, 4]
    for each in figures["temperatures"]:
        own = [row for row in rows(whole) if row["temperature"] == each["temperature"]]
        assert sum(each["successes"]) == sum(row["success"] for row in own)
        assert each["metrics"][f"mean@{each['samples']}"]["value"] == sum(each["successes"]) / len(own)


def test_temperatures_of_another_grid_are_refused(whole, capsys):
    assert main([*ARGUMENTS, "--temperature=0,0.5", f"--output={whole}"]) == 2
    assert "temperature is '0.0,0.5', but" in capsys.readouterr().err
    assert main([*ARGUMENTS, "--temperature=0.4", f"--output={whole}"]) == 2
    assert "temperature is 0.4, but" in capsys.readouterr().err


def results(counts, samples=4):
    """An evaluation with these successes per problem, by temperature."""
    grid = {}
    for temperature, successes in counts.items():
        n = samples if temperature else 1
        own = [
            {"problem": f"p{place}", "sample": i, "success": i < count, "reward": float(i < count), "length": 3,
             "cut": False, "entropy": 0.1}
            for place, count in enumerate(successes) for i in range(n)
        ]  # fmt: skip
        grid[temperature] = EvaluationResult(rows=own, metrics=evaluation_metrics(own))
    return grid


def test_a_temperature_is_chosen_on_the_even_problems_and_reported_on_the_odd_ones():
    # By Mean@4, 0.5 is best on the choice half and worst on the report half; by Pass@4, 1.0 is.
    grid = results({0.0: (1, 0, 0, 1), 0.5: (4, 0, 0, 1), 1.0: (1, 4, 1, 4)})
    by_mean, by_pass = choices(grid)
    assert (by_mean.metric, by_mean.temperature, by_mean.chosen_on, by_mean.reported_on) == ("mean@4", 0.0, 2, 2)
    assert by_mean.values == {"mean@4": 0.5, "pass@4": 0.5}
    assert (by_pass.metric, by_pass.temperature) == ("pass@4", 1.0)
    assert by_pass.values == {"mean@4": 1.0, "pass@4": 1.0}


def test_what_is_chosen_does_not_depend_on_the_report_half():
    choice = {
        temperature: [random.Random(temperature).randint(0, 4) for _ in range(4)] for temperature in (0.3, 0.6, 1)
    }
    chosen = set()
    for seed in range(20):
        draws = random.Random(seed)
        counts = {t: [x for even in own for x in (even, draws.randint(0, 4))] for t, own in choice.items()}
        chosen.add(tuple(each.temperature for each in choices(results(counts))))
    assert len(chosen) == 1


def test_one_temperature_or_one_problem_leaves_nothing_to_choose():
    assert choices(results({0.5: (4, 0)})) == []
    assert choices(results({0.5: (4,), 1.0: (3,)})) == []


def test_temperatures_are_read_in_any_order_and_form():
    assert EvalConfig(temperature=(1, 0.2, 0)).temperature == EvalConfig(temperature=[0, 0.2, 1]).temperature
    assert EvalConfig(temperature=0.6).temperature == (0.6,)
    assert EvalConfig(temperature=(0.2, 0.6)).path.name == "countdown-countdown-tiny-0-temperature-0.2-0.6.parquet"


def test_a_grid_killed_at_a_random_moment_ends_with_the_same_file(tmp_path):
    arguments = ["eval", "--samples=4", "--problems=64", "--batch-size=8", "--temperature=0,0.5,1"]
    assert main([*arguments, f"--output={tmp_path / 'whole.parquet'}"]) == 0
    path = tmp_path / "killed.parquet"
    command = [sys.executable, "-m", "entroshape", *arguments, f"--output={path}"]
    for journal in ("killed.parquet.T0.5.partial", "killed.parquet.T1.0.partial"):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            deadline = time.monotonic() + 120
            waited = tmp_path / journal
            while not (waited.exists() and waited.read_bytes().count(b"\n") > 3) and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        assert not path.exists()
    before = {each: each.stat().st_size for each in tmp_path.glob("*.partial")}
    assert len(before) == 3
    assert main([*arguments, f"--output={path}"]) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["killed.parquet", "whole.parquet"]
    killed, uninterrupted = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("killed", "whole"))
    assert killed.equals(uninterrupted, check_metadata=True)
