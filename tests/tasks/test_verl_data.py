"""``entroshape.verl_data``: a task's problems as the files that verl's recipes start from."""

import json

import pyarrow.parquet as pq
import pytest
from test_benchmarks import LAYOUTS, cache  # noqa: F401  each test with a cache of its own

from entroshape import verl_data

pytestmark = pytest.mark.slow

TESTS_ALONE = ("aime24", "aime25", "math500")


@pytest.fixture
def copies(tmp_path):
    return {name: make(tmp_path / name) for name, make in LAYOUTS.items()}


def written(task, output, *more):
    verl_data.main([f"--task={task}", f"--output={output}", *more])
    return {path.name: pq.read_table(path).to_pylist() for path in output.glob("*.parquet")}


def test_the_recipes_data_set_gets_training_problems_and_each_row_its_own_data_set_as_source(copies, tmp_path):
    task = f"math:dapo17k?from={copies['dapo17k']}&test=math:aime24?from={copies['aime24']}"
    files = written(task, tmp_path / "out")
    assert {name: len(rows) for name, rows in files.items()} == {"train.parquet": 4, "test.parquet": 3}
    assert {row["data_source"] for row in files["train.parquet"]} == {"math:dapo17k"}
    assert {row["data_source"] for row in files["test.parquet"]} == {"math:aime24"}
    row = files["train.parquet"][0]
    assert row["prompt"][0]["content"].startswith("What is 0+1?")
    assert json.loads(row["reward_model"]["ground_truth"]) == {"answer": "1"}
    said = verl_data.compute_score(row["data_source"], "\\boxed{1}", row["reward_model"]["ground_truth"])
    assert said == {"score": 1.0, "acc": 1.0}


@pytest.mark.parametrize("name", TESTS_ALONE)
def test_a_data_set_of_test_problems_alone_is_written_as_such_and_says_so(copies, tmp_path, name, capsys):
    files = written(f"math:{name}?from={copies[name]}", tmp_path / "out")
    assert {name: len(rows) for name, rows in files.items()} == {"test.parquet": 3}
    assert files["test.parquet"][0]["data_source"] == f"math:{name}"
    assert "train.parquet: not written, the task has no train problems" in capsys.readouterr().out


def test_a_split_that_was_asked_for_and_is_not_there_is_refused_and_nothing_written(copies, tmp_path):
    with pytest.raises(ValueError, match="has no train problems; nothing is written"):
        written(f"math:aime25?from={copies['aime25']}", tmp_path / "out", "--splits", "train", "test")
    assert not (tmp_path / "out").exists()


def test_a_data_set_with_both_splits_is_written_with_both(copies, tmp_path):
    files = written(f"math:gsm8k?from={copies['gsm8k']}", tmp_path / "out")
    assert {name: len(rows) for name, rows in files.items()} == {"train.parquet": 5, "test.parquet": 5}
    assert files["train.parquet"][0]["data_source"] == files["test.parquet"][0]["data_source"] == "math:gsm8k"


def test_other_tasks_keep_their_name_as_source(tmp_path):
    files = written("countdown", tmp_path / "out", "--train-size=4", "--test-size=2")
    assert {name: len(rows) for name, rows in files.items()} == {"train.parquet": 4, "test.parquet": 2}
    assert {row["data_source"] for rows in files.values() for row in rows} == {"countdown"}
