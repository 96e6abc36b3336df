"""``math:<name>``: the hub's data sets, from copies in the hub's own layout, through the code that reads the hub."""

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entroshape.tasks import load_task
from entroshape.tasks.benchmarks import BENCHMARKS, DAPO_AFTER, DAPO_BEFORE

pytestmark = pytest.mark.slow

PROBLEMS = ["What is $1+1$?", "What is $2+2$?", "What is $\\frac{1}{2}+\\frac{1}{4}$?"]
ANSWERS = ["2", "4", "\\frac{3}{4}"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def card(splits, config="default"):
    lines = ["---", "license: mit", "configs:", f"- config_name: {config}", "  data_files:"]
    for split, path in splits.items():
        lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", "", "# A data set", ""])


def write_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def aime24(root):
    """Rows as in HuggingFaceH4/aime_2024: one split, ``train``, as Parquet."""
    (root / "data").mkdir(parents=True)
    (root / "README.md").write_text(card({"train": "data/train-*"}))
    rows = [
        {"id": 60 + i, "problem": problem, "solution": "Long.", "answer": answer, "url": "https://", "year": "2024"}
        for i, (problem, answer) in enumerate(zip(PROBLEMS, ANSWERS, strict=True))
    ]
    write_parquet(root / "data" / "train-00000-of-00001.parquet", rows)
    return root


def aime25(root):
    """Rows as in math-ai/aime25: a file of lines beside the card."""
    root.mkdir()
    (root / "README.md").write_text(card({"test": "test.jsonl"}))
    rows = zip(PROBLEMS, ANSWERS, strict=True)
    write_lines(root / "test.jsonl", [{"problem": p, "answer": a, "id": str(i)} for i, (p, a) in enumerate(rows)])
    return root


def math500(root):
    """Rows as in HuggingFaceH4/MATH-500: no list of files in the card, a file named after its split."""
    root.mkdir()
    (root / "README.md").write_text("---\nlanguage:\n- en\n---\n# MATH-500\n")
    rows = [
        {"problem": p, "answer": a, "subject": "Algebra", "level": 2, "unique_id": f"test/algebra/{i}.json"}
        for i, (p, a) in enumerate(zip(PROBLEMS, ANSWERS, strict=True))
    ]
    write_lines(root / "test.jsonl", rows)
    return root


def gsm8k(root):
    """Rows as in openai/gsm8k, configuration ``main``: worked solutions that end in ``#### answer``."""
    root.mkdir()
    (root / "README.md").write_text(card({"train": "main/train-*", "test": "main/test-*"}, config="main"))
    for split, start in (("train", 0), ("test", 100)):
        rows = [
            {"question": f"{n} apples and one?", "answer": f"It is <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1:,}"}
            for n in range(start, start + 5)
        ]
        write_parquet(root / "main" / f"{split}-00000-of-00001.parquet", rows)
    return root


def dapo17k(root):
    """Rows as in BytedTsinghua-SIA/DAPO-Math-17k: conversations, the answer in a struct, each problem many times."""
    root.mkdir()
    (root / "README.md").write_text(card({"train": "data/*.parquet"}))
    rows = [
        {
            "data_source": "math_dapo",
            "prompt": [{"content": f"{DAPO_BEFORE}{problem}{DAPO_AFTER}", "role": "user"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": f"uuid-{problem[:20]}"},
        }
        for problem, answer in [(f"What is {n}+1?", str(n + 1)) for n in range(4)] + [(PROBLEMS[0], "2")]
    ]
    write_parquet(root / "data" / "dapo-math-17k.parquet", rows * 3)
    return root


LAYOUTS = {"aime24": aime24, "aime25": aime25, "math500": math500, "gsm8k": gsm8k, "dapo17k": dapo17k}


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("aime24", ["aime24-60", "aime24-61", "aime24-62"]),
        ("aime25", ["aime25-0", "aime25-1", "aime25-2"]),
        ("math500", ["math500-test/algebra/0.json", "math500-test/algebra/1.json", "math500-test/algebra/2.json"]),
    ],
)
def test_a_benchmark_is_read_from_a_copy_of_its_repository(tmp_path, name, ids):
    task = load_task(f"math:{name}?from={LAYOUTS[name](tmp_path / 'copy')}", training=False)
    assert task.test["id"][:] == ids
    assert (task.test["prompt"][:], task.test["answer"][:]) == (PROBLEMS, ANSWERS)
    assert len(task.train) == 0
    assert "boxed" in task.instruction
    texts = [f"\\boxed{{{answer}}}" for answer in ANSWERS]
    assert task.reward(PROBLEMS, texts, answer=ANSWERS) == [1.0, 1.0, 1.0]
    assert [verdict.answer for verdict in task.verdicts(PROBLEMS, texts, answer=ANSWERS)] == ANSWERS
    task.reward.close()


def test_gsm8k_trains_on_its_training_split(tmp_path):
    spec = f"math:gsm8k?from={gsm8k(tmp_path / 'copy')}"
    task = load_task(spec, train_size=3, test_size=2)
    assert (len(task.train), task.test["id"][:]) == (3, ["gsm8k-test-0", "gsm8k-test-1"])
    assert task.test["prompt"][0] == "100 apples and one?"
    assert task.test["answer"][:] == ["101", "102"]
    assert set(task.train["answer"]) <= {"1", "2", "3", "4", "5"}
    assert load_task(spec, test_size=None).test.num_rows == 5
    assert len(load_task(spec, training=False).train) == 0


def test_dapo_trains_on_each_bare_problem_once_and_on_no_test_problem(tmp_path, caplog):
    copies = dapo17k(tmp_path / "dapo"), aime24(tmp_path / "aime")
    task = load_task(f"math:dapo17k?from={copies[0]}&test=math:aime24?from={copies[1]}")
    assert task.train["prompt"][:] == [f"What is {n}+1?" for n in range(4)]
    assert task.train["answer"][:] == ["1", "2", "3", "4"]
    assert task.test["id"][0] == "aime24-60"
    assert "left out 1 training problems that are also test problems" in caplog.text


def test_test_problems_may_be_a_file(tmp_path):
    write_lines(tmp_path / "test.jsonl", [{"problem": "6?", "answer": 6}])
    spec = f"math:gsm8k?from={gsm8k(tmp_path / 'copy')}&test=jsonl:{tmp_path / 'test.jsonl'}"
    assert load_task(spec).test["prompt"][:] == ["6?"]


def test_what_has_no_training_problems_cannot_be_trained_on(tmp_path):
    spec = f"math:aime24?from={aime24(tmp_path / 'copy')}"
    with pytest.raises(ValueError, match=r"only test problems: you can evaluate on it but not train.*math:gsm8k"):
        load_task(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "aime24?from=/nowhere/at/all",
            "from must be a directory with a copy of HuggingFaceH4/aime_2024; got '/nowhere",
        ),
        ("aime24?form=x", r"math:aime24 takes the options from=<dir> and test=<task>, in this order; got 'form=x'"),
        ("aime24?from=", "takes the options from=<dir>"),
        ("gsm8k?test=", "takes the options from=<dir>"),
        ("gsm8k?test=aime24", "test must be jsonl:<path> or math:<name> with one of aime24, aime25, math500, gsm8k"),
        ("gsm8k?test=math:dapo17k", "test must be jsonl:<path> or math:<name>"),
        ("gsm8k?test=math:gsm8k?test=math:aime24", "test must name only test problems"),
        ("dapo17k", r"math:dapo17k has no test problems; name some, for example math:dapo17k\?test=math:aime24"),
    ],
)
def test_an_option_that_cannot_be_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        load_task(f"math:{spec}", training=False)


@pytest.mark.parametrize("spec", ["math:aime", "math:", "math"])
def test_an_unknown_benchmark_says_what_there_is(spec):
    with pytest.raises(ValueError, match="unknown task") as error:
        load_task(spec)
    assert all(name in str(error.value) for name in BENCHMARKS)


def test_a_copy_with_other_columns_is_named(tmp_path):
    write_lines(tmp_path / "copy" / "test.jsonl", [{"question": "1?", "answer": "1"}])
    with pytest.raises(ValueError, match=r"split 'test', must have the column 'problem'; it has question, answer"):
        load_task(f"math:math500?from={tmp_path / 'copy'}", training=False)


@pytest.mark.parametrize(("answer", "message"), [("no mark", "must end in '#### answer'"), ("#### ", "must hold text")])
def test_a_row_that_cannot_be_read_is_named(tmp_path, answer, message):
    copy = gsm8k(tmp_path / "copy")
    write_parquet(copy / "main" / "test-00000-of-00001.parquet", [{"question": "1?", "answer": answer}])
    with pytest.raises(ValueError, match=rf"math:gsm8k, row 0.*{message}"):
        load_task(f"math:gsm8k?from={copy}", training=False)


def test_a_copy_without_the_split_is_named(tmp_path):
    write_lines(tmp_path / "copy" / "validation.jsonl", [{"problem": "1?", "answer": "1", "unique_id": "a"}])
    with pytest.raises(ValueError, match="must be a copy of the hub's repository HuggingFaceH4/MATH-500"):
        load_task(f"math:math500?from={tmp_path / 'copy'}", training=False)


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="math:aime25 cannot be loaded from the hub") as error:
        load_task("math:aime25", training=False)
    for hint in ("hf download math-ai/aime25 --repo-type dataset --local-dir DIR", "math:aime25?from=DIR", "jsonl:"):
        assert hint in str(error.value)
