"""``entroshape eval`` on the bundled model: the same answers for the same seed, all of them kept."""

import importlib
import json
import shutil
import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entroshape.assets import bundled_model_path
from entroshape.cli import main
from entroshape.evaluation import SampledCompletion, pass_curve
from entroshape.evaluation.options import EvalConfig

pytestmark = pytest.mark.slow


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
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("Mean@4 = Pass@1", "Pass@4", "Cut at the limit", "next, "))
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.parquet"]


def test_pass_at_every_k_is_written_with_its_interval(tmp_path, capsys):
    path = tmp_path / "answers.parquet"
    assert main(["eval", "--samples=6", "--problems=8", f"--output={path}", "--json"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    assert "Mean@6" in printed.err
    table = pq.read_table(path)
    metadata = {
        name: json.loads(table.schema.metadata[name.encode()]) for name in ("pass_curve", "intervals", "options")
    }
    assert figures["pass_curve"] == metadata["pass_curve"] == pass_curve(table.to_pylist())
    assert [point["k"] for point in figures["pass_curve"]] == [1, 2, 3, 4, 5, 6]
    assert figures["metrics"] == metadata["intervals"]
    assert figures["metrics"]["entropy"].keys() == {"value", "low", "high"}
    assert (figures["problems"], figures["samples"], figures["answers"]) == (8, 6, str(path))
    assert figures["options"] == metadata["options"]
    assert figures["options"]["samples"] == 6


def test_what_is_done_is_shown_again_and_not_done_again(tmp_path, capsys):
    path = tmp_path / "answers.parquet"
    options = ["eval", "--samples=2", "--problems=3", f"--output={path}"]
    assert main(options) == 0
    first, written = capsys.readouterr().out, path.stat().st_mtime_ns
    assert main(options) == 0
    again = capsys.readouterr().out
    assert "already complete" in again
    assert first[first.index("3 problems") :] == again[again.index("3 problems") :]
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--samples=3", "samples is 3, but"),
        ("--temperature=0.5", "temperature is 0.5, but"),
        ("--seed=1", "seed is 1, but"),
        ("--problems=4", "problems is 4, but"),
        ("--batch-size=5", "batch_size is 5, but"),
        ("--max-completion-length=9", "max_completion_length is 9, but"),
    ],
)
def test_a_file_of_other_options_is_refused_and_kept(tmp_path_factory, option, words, capsys):
    path = tmp_path_factory.getbasetemp() / "refused.parquet"
    options = ["eval", "--samples=2", "--problems=3", f"--output={path}"]
    if not path.exists():
        assert main(options) == 0
    content = path.read_bytes()
    assert main([*options, option]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "another --output" in message
    assert path.read_bytes() == content


def test_other_weights_in_the_same_place_are_refused(tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(bundled_model_path("countdown-tiny"), model)
    options = ["eval", f"--model={model}", "--samples=1", "--problems=2", f"--output={tmp_path / 'a.parquet'}"]
    assert main(options) == 0
    (weights,) = model.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-4] ^= 1
    weights.write_bytes(content)
    assert main(options) == 2
    assert "weights of the model is" in capsys.readouterr().err


def test_other_problems_under_the_same_name_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = (
        "from entroshape.tasks import load_task\nfrom dataclasses import replace\n"
        "def mine(): return replace(load_task('countdown', train_size=1),\n"
        "    test=load_task('countdown').test.select([{}]))\n"
    )
    (tmp_path / "own_problems.py").write_text(module.format(0))
    options = ["eval", "--task=own_problems:mine", "--samples=1", f"--output={tmp_path / 'a.parquet'}"]
    assert main(options) == 0
    sys.modules.pop("own_problems")
    (tmp_path / "own_problems.py").write_text(module.format(11))
    importlib.invalidate_caches()
    assert main(options) == 2
    assert "problems of the task is" in capsys.readouterr().err


def test_a_file_that_is_no_evaluation_is_kept(tmp_path, capsys):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    assert main(["eval", "--samples=1", "--problems=2", f"--output={path}"]) == 2
    assert "is not an evaluation file" in capsys.readouterr().err
    assert pq.read_table(path).column_names == ["x"]


def test_a_refused_model_leaves_nothing_behind(tmp_path, capsys):
    path = tmp_path / "a.parquet"
    assert main(["eval", "--task=reasoning_gym:chain_sum", "--problems=4", f"--output={path}"]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_answers_cut_at_the_limit_are_what_the_next_step_is_about(tmp_path, capsys):
    options = ["--samples=2", "--problems=4", "--max-completion-length=5", f"--output={tmp_path / 'a.parquet'}"]
    assert main(["eval", *options]) == 0
    assert "cut at 5 tokens and count as failures. Try --max-completion-length 10" in capsys.readouterr().out


def test_mathematics_is_voted_on_and_the_answers_are_kept(tmp_path, capsys, monkeypatch):
    """A benchmark in the hub's layout, from the command line to the vote, with answers by rote."""
    copy = tmp_path / "copy"
    copy.mkdir()
    lines = [{"problem": "1 2 3 4 > 10 :", "answer": "\\frac{1}{2}", "unique_id": "a"}]
    lines += [{"problem": "1 2 3 4 > 20 :", "answer": "7", "unique_id": "b"}]
    (copy / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = {0: ["\\boxed{0.5}", "\\boxed{3}", "\\boxed{1/2}", "no idea"], 1: ["\\boxed{7}", "\\boxed{8}", "8", "?"]}
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("entroshape.evaluation.command._sampler", lambda config: (ByRote(texts), PlainTokenizer()))
    path = tmp_path / "a.parquet"
    assert main(["eval", f"--task=math:math500?from={copy}", "--samples=4", f"--output={path}"]) == 0
    assert "Majority@4" in capsys.readouterr().out
    table = pq.read_table(path)
    assert table["answer"].to_pylist() == ["\\frac{1}{2}", "3", "\\frac{1}{2}", "", "7", "8", "8", ""]
    assert table["success"].to_pylist() == [True, False, True, False, True, False, False, False]
    assert json.loads(table.schema.metadata[b"metrics"])["majority@4"] == 0.5


class ByRote:
    """A sampler that gives the answers it was made with."""

    def __init__(self, texts):
        self._texts = texts

    def tokenize(self, prompts):
        return [[number] for number in range(len(prompts))]

    def sample(self, prompts, *, max_new_tokens, temperature, seed):
        left = {number: iter(texts) for number, texts in self._texts.items()}
        return [SampledCompletion(text=next(left[i]), length=1, cut=False, entropy=0.0) for (i,) in prompts]


class PlainTokenizer:
    """Reads anything."""

    chat_template = None

    def __call__(self, text):
        return {"input_ids": [0]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=./nowhere"], ["nowhere", "countdown-tiny"]),
        (["--task=countdwn"], ["countdwn", "countdown"]),
        (["--task=reasoning_gym:chain_sum"], ["cannot read", "another model"]),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(arguments, words, capsys, tmp_path):
    assert main(["eval", *arguments, f"--output={tmp_path / 'a.parquet'}"]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_the_default_file_is_named_after_task_model_and_seed():
    config = EvalConfig(task="jsonl:data/a.jsonl", model="./my/model", seed=3)
    assert str(config.path) == "eval/jsonl-data-a.jsonl-.-my-model-3.parquet"


def test_other_options_have_a_default_file_of_their_own_and_where_it_is_computed_has_not():
    plain = EvalConfig()
    assert str(plain.path) == "eval/countdown-countdown-tiny-0.parquet"
    assert EvalConfig(device="cpu", json=True).path == plain.path
    several = EvalConfig(samples=32, temperature=0.6, reward="mine:f", max_completion_length=9)
    name = "countdown-countdown-tiny-0-reward-mine-f-samples-32-temperature-0.6-max_completion_length-9"
    assert str(several.path) == f"eval/{name}.parquet"
    options = [{"samples": 1}, {"problems": 16}, {"batch_size": 1}, {"precision": "bfloat16"}, {"engine": "vllm"}]
    assert len({plain.path, several.path, *(EvalConfig(**option).path for option in options)}) == 7


def test_more_samples_than_at_first_are_another_file_and_not_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [main(["eval", "--problems=2", f"--samples={n}"]) for n in (1, 2)] == [0, 0]
    tables = [pq.read_table(path) for path in sorted(tmp_path.glob("eval/*.parquet"))]
    assert [table.num_rows for table in tables] == [2, 4]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("1 / 0", "reward function 'bad_rewards:f' raised ZeroDivisionError: division by zero"),
        ("[1.0]", "reward function 'bad_rewards:f' must return one number per completion: expected 4, got 1"),
        (
            "[float('nan')] * len(completions)",
            "reward function 'bad_rewards:f' must return finite numbers; got nan for completion 0",
        ),
    ],
)
def test_a_reward_that_fails_is_named_once_in_a_sentence(values, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad_rewards.py").write_text(f"def f(prompts, completions): return {values}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("bad_rewards", None)
    importlib.invalidate_caches()
    options = ["eval", "--reward=bad_rewards:f", "--problems=2", "--samples=2", "--output=out/a.parquet"]
    assert main(options) == 1
    assert capsys.readouterr().err == f"entroshape: {message}\n(ENTROSHAPE_TRACEBACK=1 shows where)\n"
    assert not list(tmp_path.glob("out/*"))
    monkeypatch.setenv("ENTROSHAPE_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="bad_rewards:f"):
        main(options)


def test_a_file_in_the_way_of_the_directory_is_named_in_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["eval", "--problems=1", "--samples=1", f"--output={tmp_path / 'file' / 'a.parquet'}"]) == 1
    message = capsys.readouterr().err
    assert str(tmp_path / "file") in message
    assert "Traceback" not in message


def test_an_option_that_does_not_work_ends_the_command_line_with_its_name(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["eval", "--output=answers.csv"])
    assert stopped.value.code == 2
    assert ".parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        {"samples": 0},
        {"problems": -1},
        {"temperature": -0.1},
        {"temperature": (0.5, 0.5)},
        {"temperature": ()},
        {"batch_size": 0},
        {"engine": "sglang"},
        {"precision": "int8"},
        {"device": "tpu"},
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        EvalConfig(**option)
