"""``entroshape eval`` on the bundled model: the same answers for the same seed, all of them kept."""

import json

import pyarrow.parquet as pq
import pytest

from entroshape.cli import main
from entroshape.evaluation.command import EvalConfig


def test_every_answer_is_kept_with_the_metrics_over_them(tmp_path, capsys):
    path = tmp_path / "answers.parquet"
    options = ["eval", "--samples=4", "--problems=6", f"--output={path}"]
    assert main(options) == 0
    table = pq.read_table(path)
    metrics = json.loads(table.schema.metadata[b"metrics"])
    assert table.num_rows == 24
    successes = table.column("success").to_pylist()
    assert metrics["mean@4"] == pytest.approx(sum(successes) / 24)
    assert {"pass@1", "pass@4", "length", "entropy", "share_cut"} <= set(metrics)
    assert "pass@4" in capsys.readouterr().out
    assert main(options) == 0
    assert pq.read_table(path).equals(table)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=./nowhere"], ["nowhere", "countdown-tiny"]),
        (["--task=countdwn"], ["countdwn", "countdown"]),
        (["--task=reasoning_gym:chain_sum"], ["cannot read", "another model"]),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(arguments, words, capsys):
    assert main(["eval", *arguments]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_the_default_file_is_named_after_task_model_and_seed():
    config = EvalConfig(task="jsonl:data/a.jsonl", model="./my/model", seed=3)
    assert str(config.path) == "evaluations/jsonl-data-a.jsonl-.-my-model-3.parquet"


def test_an_option_that_does_not_work_ends_the_command_line_with_its_name(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "--output=answers.csv"])
    assert stopped.value.code == 2
    assert ".parquet" in capsys.readouterr().err


@pytest.mark.parametrize("option", [{"samples": 0}, {"problems": -1}, {"temperature": 0.0}, {"batch_size": 0}])
def test_an_option_out_of_range_is_refused_by_name(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        EvalConfig(**option)
