"""reasoning-gym tasks: specs, splits, answers found in text, and the package's own scores."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks import load_task
from entroshape.tasks.reasoning_gym import extract_answer, option_values
from entroshape.tasks.spec import parse_spec

pytestmark = pytest.mark.slow

SMALL = "reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=1"


@pytest.fixture(scope="module")
def small():
    task = load_task(SMALL, train_size=300)
    yield task
    task.reward.close()


def score(task, completions):
    rows = task.train.select(range(len(completions)))
    return task.reward(rows["prompt"], completions, id=rows["id"], entry=rows["entry"])


def sums(task, count):
    return [str(eval(prompt.rpartition(": ")[2].removesuffix(" ="))) for prompt in task.train["prompt"][:count]]


def test_prompts_are_the_questions_and_answers_are_scored_by_the_data_set(small):
    assert small.name == SMALL
    right = sums(small, 4)
    completions = [
        f"<answer>{right[0]}</answer>",
        f"That makes \\boxed{{{right[1]}}}.",
        f"The answer is {right[2]}.",
        [{"role": "assistant", "content": f"<answer> +{right[3]}.0 </answer>" if int(right[3]) >= 0 else right[3]}],
    ]
    assert score(small, completions) == [1.0] * 4
    assert score(small, [f"<answer>{int(each) + 100}</answer>" for each in right]) < [0.7] * 4
    assert score(small, ["", "no number", "<answer></answer>", "\\boxed{}"]) == [0.0] * 4


def test_questions_are_distinct_and_none_is_in_both_splits(small):
    train, test = small.train["prompt"][:], small.test["prompt"][:]
    assert len({*train, *test}) == len(train) + len(test)
    # 200 questions exist: most were drawn, at most a fifth of what was drawn is held out.
    assert 20 < len(test) <= 40
    assert 100 < len(train) <= 180
    assert len({*small.train["id"], *small.test["id"]}) == len(train) + len(test)


def test_test_problems_are_the_same_for_every_seed_and_training_problems_are_not():
    first, second = (load_task("reasoning_gym:chain_sum", train_size=40, test_size=8, seed=seed) for seed in (0, 1))
    assert first.test.to_list() == second.test.to_list()
    assert len(first.train) == len(second.train) == 40
    assert len(first.test) == 8
    assert not set(first.train["prompt"]) & set(second.train["prompt"])
    assert first.train.to_list() == load_task(first.name, train_size=40, test_size=8, seed=0).train.to_list()


def test_entries_with_tuples_are_scored_as_the_data_set_made_them():
    task = load_task("reasoning_gym:rearc", train_size=3, test_size=1)
    answers = [json.loads(entry)["answer"] for entry in task.train["entry"]]
    completions = [f"<answer>{answer}</answer>" for answer in answers]
    assert task.reward(task.train["prompt"], completions, entry=task.train["entry"]) == [1.0] * 3
    task.reward.close()


def test_a_scorer_that_raises_costs_the_point_with_a_warning(caplog):
    task = load_task("reasoning_gym:prime_factorization", train_size=3, test_size=1)
    with caplog.at_level(logging.WARNING):
        assert score(task, ["<answer>two by three</answer>"]) == [0.0]
    assert "1 of 1 completions got reward 0: ValueError (1)" in caplog.text
    task.reward.close()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("chain_sums", "reasoning_gym has no data set 'chain_sums'; did you mean chain_sum or .*decimal_chain_sum"),
        ("zzzzzz", "reasoning_gym has no data set 'zzzzzz': .*chain_sum, .*zebra_puzzles"),
        (
            "chain_sum?terms=2",
            "chain_sum has no option 'terms'; it has min_terms, max_terms, min_digits,",
        ),
        ("chain_sum?seed=2", "option 'seed' of reasoning_gym:chain_sum is set by the task's own seed and sizes"),
        ("chain_sum?min_terms=0", "chain_sum does not accept the options {'min_terms': 0}: min_terms must be positive"),
        ("chain_sum?min_terms=two", "chain_sum does not accept the options {'min_terms': 'two'}"),
        ("chain_sum?min_terms", "options must look like name=value&name=value; got 'min_terms'"),
        (
            "color_cube_rotation?min_rotations=1.5",
            "color_cube_rotation does not accept the options {'min_rotations': 1.5}: ",
        ),
        ("composite", "composite is made of other data sets by Python objects, which a task's name cannot hold; name"),
        ('composite?datasets=["chain_sum"]', "composite is made of other data sets"),
        ('composite?datasets=[{"name":"chain_sum","weight":1,"config":{}}]', "composite is made of other data sets"),
    ],
)
def test_bad_specs_are_refused_with_what_there_is(spec, message):
    with pytest.raises(ValueError, match=message):
        load_task(f"reasoning_gym:{spec}")


def test_a_fifth_of_ten_questions_is_held_out():
    task = load_task("reasoning_gym:chain_sum?min_terms=1&max_terms=1&max_digits=1&allow_negation=false")
    assert (len(task.train), len(task.test)) == (8, 2)


def test_too_few_questions_to_hold_any_out_are_refused():
    with pytest.raises(ValueError, match=r"has only [1-4] distinct questions: too few to hold out any"):
        load_task("reasoning_gym:chain_sum?min_terms=1&max_terms=1&max_digits=1", train_size=2, test_size=1)


@pytest.mark.parametrize(
    ("text", "expected", "answer"),
    [
        ("<answer>a</answer> or <answer>\nb\nc </answer> done 7", "7", "b\nc"),
        ("\\boxed{1} then <answer>2</answer>", "2", "2"),
        ("<answer>12", "12", "12"),
        ("</answer> 3 <answer>", "3", "3"),
        ("\\boxed{1}, no: \\boxed{\\frac{1}{2}}", None, "\\frac{1}{2}"),
        ("\\boxed{\\text{ red }}", "red", "red"),
        ("\\boxed{unfinished 5", "5", "5"),
        ("12 - 5 = 7.", "7", "7"),
        ("x=-5", "-5", "-5"),
        ("that is 1,200, I think", "1200", "1,200"),
        ("from 3-4 years", "4", "4"),
        ("0.25", "0.5", "0.25"),
        ("no digits", "7", ""),
        ("Let me see.\n\nred\n \n", "red", "red"),
        ("a 1 2\nb 3 4", "1 2\n3 4", "b 3 4"),
        ("", "7", ""),
        ("", None, ""),
    ],
)
def test_answer_is_what_a_reader_would_take(text, expected, answer):
    assert extract_answer(text, expected) == answer


@given(st.text(alphabet="<answer>/\\boxed{}1,.- \n"), st.sampled_from([None, "7", "red", "-0.5"]))
def test_extraction_never_raises_and_never_invents(text, expected):
    assert extract_answer(text, expected) in text


@pytest.mark.parametrize("piece", ["<answer>", "</answer>", "\\boxed{", "1,", "-", "1.", "{"])
def test_extraction_of_a_megabyte_returns(piece):
    """In quadratic time, this test would not end."""
    assert extract_answer(piece * (1_000_000 // len(piece)), "7") is not None


def test_options_are_read_as_json_where_they_are_json():
    read = option_values(parse_spec('reasoning_gym:x?a=1&b=-0.5&c=true&d=False&e=word&f=["%2B","-"]&g=1e2').options)
    assert read == {"a": 1, "b": -0.5, "c": True, "d": False, "e": "word", "f": ["+", "-"], "g": 100.0}
    assert [type(value) for value in read.values()][:4] == [int, float, bool, bool]
    assert option_values({}) == {}
