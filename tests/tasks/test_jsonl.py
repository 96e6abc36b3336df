"""JSONL tasks: what is read, how it is split, and what is said of a bad line."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks import load_task
from entroshape.tasks.jsonl import read_rows

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = '{"problem": "1+1?", "answer": "2"}'


def write(path, lines):
    path.write_bytes("\n".join(lines).encode() if isinstance(lines, list) else lines)
    return path


def numbered(count, **extra):
    return [json.dumps({"problem": f"What is {n}+1?", "answer": n + 1, **extra}) for n in range(count)]


def test_rows_are_read_with_ids_by_line_where_none_is_given():
    rows = read_rows(FIXTURES / "held_out.jsonl")
    assert [(row.id, row.answer) for row in rows] == [("held_out-1", "60"), ("held_out-3", "0.75")]
    assert [row.id for row in read_rows(FIXTURES / "problems.jsonl")][:2] == ["sum", "half"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'problem': 1}", "line 2: not a JSON object in UTF-8: Expecting property name"),
        ('{"problem": "1+1?", "answer": ', "line 2: not a JSON object in UTF-8: Expecting value at column 31$"),
        (
            r'{"problem": "1+\ud800?", "answer": 2}',
            r"line 2: problem holds '\\ud800', an unpaired surrogate; expected text$",
        ),
        (r'{"problem": "1+1?", "answer": "\udfff"}', r"line 2: answer holds '\\udfff', an unpaired surrogate"),
        (r'{"problem": "1+1?", "answer": 2, "id": "\ud83d"}', r"line 2: id holds '\\ud83d', an unpaired surrogate"),
        ('{"problem": "1+1?", "answer": 1e999}', "line 2: answer must be text or a number, not empty; got inf"),
        ('["1+1?", "2"]', "line 2: expected a JSON object, got list"),
        ('{"problem": "1+1?"}', "line 2: expected the key 'answer' with text or a number; the line has problem"),
        ('{"question": "1+1?", "answer": 2}', "line 2: expected the key 'problem' with text; the line has question"),
        ("{}", "line 2: expected the key 'problem' with text; the line has no keys"),
        ('{"problem": 11, "answer": "2"}', "line 2: problem must be text, not empty; got 11"),
        ('{"problem": "1+1?", "answer": ["2"]}', r"line 2: answer must be text or a number, not empty; got \['2'\]"),
        ('{"problem": "1+1?", "answer": true}', "line 2: answer must be text or a number, not empty; got True"),
        ('{"problem": "1+1?", "answer": NaN}', "line 2: answer must be text or a number, not empty; got nan"),
        ('{"problem": "1+1?", "answer": " "}', "line 2: answer must be text or a number, not empty; got ' '"),
        ('{"problem": "1+1?", "answer": null}', "line 2: expected the key 'answer'"),
        ('{"problem": "1+1?", "answer": 2, "id": {}}', "line 2: id must be text or a number, not empty; got {}"),
        ('{"problem": "1+1?", "answer": 2, "id": "a"}', "line 2: id 'a' is already used in line 1"),
        ("[" * 100_000, "line 2: not a JSON object in UTF-8: maximum recursion depth"),
        ('{"problem": "1+1?", "answer": %s}' % ("9" * 5000), "line 2: not a JSON object in UTF-8: Exceeds the limit"),
    ],
)
def test_a_malformed_line_is_named_with_path_and_number(tmp_path, line, message):
    path = write(tmp_path / "train.jsonl", ['{"problem": "0+1?", "answer": "1", "id": "a"}', line, GOOD])
    with pytest.raises(ValueError, match=message) as error:
        load_task(f"jsonl:{path}")
    assert str(error.value).startswith(f"{path}, line 2: ")


def test_an_integer_answer_may_be_larger_than_any_float_and_a_pair_of_surrogates_is_a_character(tmp_path):
    digits = "9" * 500
    lines = [f'{{"problem": "1+1?", "answer": {digits}}}', r'{"problem": "\ud83d\ude00", "answer": -1}']
    rows = read_rows(write(tmp_path / "train.jsonl", lines))
    assert [(row.problem, row.answer) for row in rows] == [("1+1?", digits), ("\N{GRINNING FACE}", "-1")]
    assert len(load_task(f"jsonl:{tmp_path / 'train.jsonl'}", test_size=1).train) == 1


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = write(tmp_path / "train.jsonl", GOOD.encode() + b"\n" + b'{"problem": "\xff", "answer": 1}\n')
    with pytest.raises(ValueError, match=r"train.jsonl, line 2: not a JSON object in UTF-8: 'utf-8' codec"):
        read_rows(path)


@given(st.lists(st.one_of(st.binary(max_size=30).filter(lambda line: b"\n" not in line), st.just(GOOD.encode()))))
def test_any_file_is_read_or_refused_with_its_path(tmp_path_factory, lines):
    path = write(tmp_path_factory.getbasetemp() / "any.jsonl", b"\n".join(lines))
    bad = {line for line in lines if line.strip()} != {GOOD.encode()}
    with pytest.raises(ValueError, match=r"^\S+any.jsonl(, line \d+: | has no lines)") if bad else nullcontext():
        read_rows(path)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = write(tmp_path / "train.jsonl", b"\xef\xbb\xbf" + f"{GOOD}\r\n{GOOD}\r\n".encode())
    assert [row.problem for row in read_rows(path)] == ["1+1?", "1+1?"]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = write(tmp_path / "train.jsonl", content)
    with pytest.raises(ValueError, match=r"train.jsonl has no lines; expected one JSON object per line"):
        load_task(f"jsonl:{path}")


def test_a_missing_file_lists_those_there_are(tmp_path):
    write(tmp_path / "problems.jsonl", [GOOD])
    with pytest.raises(ValueError, match=r"no such file: .*train.jsonl; .* has problems.jsonl"):
        load_task(f"jsonl:{tmp_path / 'train.jsonl'}")
    with pytest.raises(ValueError, match=r"no such file: .* has no .jsonl files"):
        load_task(f"jsonl:{tmp_path / 'nowhere' / 'train.jsonl'}")


def test_a_tenth_is_held_out_whatever_the_seed_and_the_order_of_the_lines(tmp_path):
    lines = numbered(200)
    first = load_task(f"jsonl:{write(tmp_path / 'a.jsonl', lines)}", seed=0)
    second = load_task(f"jsonl:{write(tmp_path / 'b.jsonl', lines[::-1])}", seed=1)
    assert len(first.test) == 20
    assert set(first.test["prompt"]) == set(second.test["prompt"])
    assert set(first.train["prompt"]) | set(first.test["prompt"]) == {f"What is {n}+1?" for n in range(200)}
    assert not set(first.train["prompt"]) & set(first.test["prompt"])


@pytest.mark.parametrize("count", [2, 3, 9, 31])
def test_a_problem_that_occurs_twice_stays_on_one_side(tmp_path, count):
    task = load_task(f"jsonl:{write(tmp_path / 'train.jsonl', numbered(count) * 2)}")
    assert not set(task.train["prompt"]) & set(task.test["prompt"])
    assert len(task.train) + len(task.test) == 2 * count


def test_sizes_are_upper_bounds_and_the_seed_draws_the_training_problems(tmp_path):
    path = write(tmp_path / "train.jsonl", numbered(100))
    first, second = (load_task(f"jsonl:{path}", train_size=30, test_size=5, seed=seed) for seed in (0, 1))
    assert (len(first.train), len(first.test)) == (30, 5)
    assert first.train["id"] != second.train["id"]
    assert len(load_task(f"jsonl:{path}", train_size=1000).train) == 90


def test_a_test_file_is_the_test_split():
    task = load_task(f"jsonl:{FIXTURES / 'problems.jsonl'}?test={FIXTURES / 'held_out.jsonl'}")
    assert (len(task.train), task.test["id"][:]) == (12, ["held_out-1", "held_out-3"])
    assert task.name.startswith("jsonl:")


def test_a_problem_in_both_files_is_refused(tmp_path):
    train, test = write(tmp_path / "a.jsonl", numbered(5)), write(tmp_path / "b.jsonl", numbered(1, id="first"))
    with pytest.raises(ValueError, match=r"1 problems of .*b.jsonl are also in .*a.jsonl, the first with id 'first'"):
        load_task(f"jsonl:{train}?test={test}")


def test_one_problem_alone_cannot_be_split(tmp_path):
    path = write(tmp_path / "train.jsonl", [GOOD, GOOD])
    with pytest.raises(ValueError, match=r"has only one problem, so none can be held out; name a test file"):
        load_task(f"jsonl:{path}")


def test_an_unknown_option_is_refused():
    with pytest.raises(ValueError, match=r"jsonl takes the option test=<path> or split=test; got 'tests=x'"):
        load_task(f"jsonl:{FIXTURES / 'problems.jsonl'}?tests=x")


def test_the_reward_takes_the_columns_of_the_task():
    task = load_task(f"jsonl:{FIXTURES / 'problems.jsonl'}")
    rows = task.train.to_dict()
    completions = [f"\\boxed{{{answer}}}" for answer in rows["answer"]]
    columns = {name: rows[name] for name in rows if name != "prompt"}
    assert task.reward(rows["prompt"], completions, **columns) == [1.0] * len(task.train)
    assert "boxed" in task.instruction
    task.reward.close()


def test_all_lines_may_be_test_problems_for_evaluation_alone():
    spec = f"jsonl:{FIXTURES / 'problems.jsonl'}?split=test"
    task = load_task(spec, test_size=None, training=False)
    assert (len(task.train), len(task.test)) == (0, 12)
    with pytest.raises(ValueError, match="you can evaluate on it but not train"):
        load_task(spec)


def test_what_is_held_out_where_no_number_is_asked_for_is_what_training_holds_out(tmp_path):
    path = write(tmp_path / "train.jsonl", numbered(4000))
    asked, unasked = (load_task(f"jsonl:{path}", test_size=size) for size in (256, None))
    assert asked.test["id"][:] == unasked.test["id"][:]
    assert len(asked.test) == 256
