"""The Countdown task: its problems, its splits, and the verifier against an enumeration of all solutions."""

import random
import re
from functools import cache, lru_cache
from itertools import islice, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks import countdown, load_task
from entroshape.tasks.countdown import Problem, is_solution

OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
NUMBERS = st.lists(st.integers(1, 12), min_size=4, max_size=4).map(tuple)
SOLUTION = "3 * 7 = 21 , 5 2 21 ; 21 + 5 = 26 , 2 26 ; 26 - 2 = 24"
SPANS = re.compile(r"(?<=, )[\d ]+(?= ;)")


@lru_cache(maxsize=64)
def all_solutions(pool):
    """Every valid response from a sorted pool, pools restated in ascending order, and what it reaches."""
    found = {}
    for i, j in permutations(range(len(pool)), 2):
        for symbol, apply in OPERATIONS.items():
            result = apply(pool[i], pool[j])
            if not 0 <= result <= 99:
                continue
            step = f"{pool[i]} {symbol} {pool[j]} = {result}"
            found[step] = result
            rest = tuple(sorted([pool[k] for k in range(len(pool)) if k not in (i, j)] + [result]))
            if len(rest) > 1:
                for tail, reached in all_solutions(rest).items():
                    found[f"{step} , {' '.join(map(str, rest))} ; {tail}"] = reached
    return found


def independent_verdict(numbers, target, text):
    """Look the response up among all solutions, once the numbers of each restated pool are put in order."""
    in_order = SPANS.sub(lambda span: " ".join(sorted(span[0].split(), key=int)), text)
    return all_solutions(tuple(sorted(numbers))).get(in_order) == target


@cache
def reachable(pool):
    values = set()
    for i, j in permutations(range(len(pool)), 2):
        for apply in OPERATIONS.values():
            result = apply(pool[i], pool[j])
            if 0 <= result <= 99:
                rest = tuple(sorted([pool[k] for k in range(len(pool)) if k not in (i, j)] + [result]))
                values |= {result} | reachable(rest)
    return frozenset(values)


@st.composite
def true_solutions(draw):
    numbers = draw(NUMBERS)
    steps = draw(st.integers(1, 3))
    chain = countdown.random_chain(draw(st.randoms(use_true_random=False)), numbers, steps)
    return numbers, chain[-1].result, countdown.render_chain(numbers, chain)


@st.composite
def damaged_solutions(draw):
    numbers, target, text = draw(true_solutions())
    tokens = text.split()
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        match draw(st.sampled_from(["replace", "copy", "swap", "drop", "insert", "cut"])):
            case "replace":
                tokens[place] = draw(st.sampled_from(countdown.VOCABULARY))
            case "copy":
                tokens[place] = tokens[other]
            case "swap":
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case "drop" if len(tokens) > 1:
                del tokens[place]
            case "insert":
                tokens.insert(place, tokens[other])
            case "cut":
                tokens = tokens[: place + 1]
    return numbers, draw(st.sampled_from([target, target, draw(st.integers(10, 99))])), " ".join(tokens)


@given(true_solutions())
def test_every_valid_chain_is_a_solution_of_what_it_reaches(case):
    assert is_solution(*case)
    assert independent_verdict(*case)


@given(damaged_solutions())
def test_verdict_on_damaged_solutions_equals_the_enumeration(case):
    assert is_solution(*case) == independent_verdict(*case)


def test_verdict_equals_the_enumeration_on_every_solution_of_a_pool_with_duplicates():
    numbers, target = (3, 7, 3, 2), 24
    solutions = all_solutions(tuple(sorted(numbers)))
    assert sum(reached == target for reached in solutions.values()) > 20
    for text, reached in solutions.items():
        assert is_solution(numbers, reached, text)
        assert is_solution(numbers, target, text) == (reached == target)


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", "nothing"),
        ("3 * 7 = 22 , 5 2 22 ; 22 + 2 = 24", "a false step"),
        (SOLUTION.replace("5 2 21", "5 21"), "a number missing from the pool"),
        (SOLUTION.replace("5 2 21", "5 2 2 21"), "a number too many in the pool"),
        (SOLUTION.replace("5 2 21", "5 3 21"), "a pool that was not left"),
        (SOLUTION.replace(";", ","), "a comma behind the pool"),
        (SOLUTION.replace(",", ";"), "a semicolon before the pool"),
        ("3 * 7 = 21 , 5 2 21 ; 21 + 3 = 24", "a number used twice"),
        ("12 * 2 = 24", "a number that was not given"),
        ("3 * 7 = 21", "another target"),
        (f"{SOLUTION} , 24 ;", "more after the target"),
        (f"{SOLUTION} {SOLUTION}", "the solution twice"),
        (f"{SOLUTION} <eos>", "a token after the target"),
        (f"Sure! {SOLUTION}", "words before"),
        (SOLUTION.replace(" 24", " 024"), "a leading zero"),
        (SOLUTION.replace(" 24", " ٢٤"), "digits of another script"),
        (SOLUTION.replace(" ", ""), "no spaces"),
        ("3 - 7 = -4 , 5 2 -4 ;", "a negative number"),
    ],
)
def test_anything_but_a_solution_is_refused(text, flaw):
    assert not is_solution((3, 7, 5, 2), 24, text), flaw


def test_restated_pool_may_come_in_any_order():
    assert is_solution((3, 7, 5, 2), 24, SOLUTION)
    assert is_solution((3, 7, 5, 2), 24, SOLUTION.replace("5 2 21", "21 2 5"))


def test_restated_pool_keeps_how_often_each_number_is_left():
    solution = "3 * 7 = 21 , 2 2 21 ; 21 + 2 = 23"
    assert is_solution((3, 7, 2, 2), 23, solution)
    assert not is_solution((3, 7, 2, 2), 23, solution.replace("2 2 21", "2 21 21"))


PIECES = st.one_of(
    st.sampled_from([*countdown.VOCABULARY, "9" * 5000, "²", "٣", "1_0", "+3", "0x3", "\x00", "\ud800", "1e5"]),
    st.text(max_size=4),
)


@given(NUMBERS, st.integers(10, 99), st.one_of(st.text(), st.lists(PIECES, max_size=40).map(" ".join)))
def test_no_text_makes_the_verifier_raise(numbers, target, text):
    rewards = countdown.countdown_reward(["?"], [text], numbers=[numbers], target=[target])
    assert rewards == [float(independent_verdict_or_false(numbers, target, text))]


def independent_verdict_or_false(numbers, target, text):
    text = " ".join(text.split())
    return bool(re.fullmatch(r"[0-9+*=,; -]{,200}", text)) and independent_verdict(numbers, target, text)


def test_hundred_kilobytes_of_almost_a_solution_are_refused():
    assert not is_solution((3, 7, 5, 2), 24, "3 * 7 = 21 , 5 2 21 ; " * 5000)


def test_reward_reads_conversations():
    message = [{"role": "assistant", "content": SOLUTION}]
    columns = {"numbers": [[3, 7, 5, 2]] * 2, "target": [24, 25]}
    assert countdown.countdown_reward(["?", "?"], [message, message], **columns) == [1.0, 0.0]


def test_held_out_problems_are_256_distinct_solvable_ones():
    problems = countdown.held_out_problems()
    assert len(problems) == len(countdown.held_out_keys()) == 256
    for problem in problems:
        assert problem.target >= 10
        assert problem.target not in problem.numbers
        assert problem.target in reachable(tuple(sorted(problem.numbers)))


def test_held_out_problems_never_change():
    # The bundled model was trained without exactly these: another list would make its held-out scores meaningless.
    first = countdown.held_out_problems()[0]
    assert first == Problem(numbers=(6, 8, 10, 5), target=98)
    assert sum(problem.target for problem in countdown.held_out_problems()) == 10472


@pytest.mark.parametrize("seed", [0, 1, 20250808])
def test_no_training_problem_is_held_out_in_any_order_of_its_numbers(seed):
    drawn = list(islice(countdown.training_problems(seed), 20_000))
    assert not {problem.key for problem in drawn} & countdown.held_out_keys()
    assert len({problem.key for problem in drawn}) > 10_000


def test_the_generator_does_meet_held_out_problems():
    """Or the test above would pass without any rejection."""
    rng = random.Random(0)
    met = {countdown._random_problem(rng).key for _ in range(20_000)} & countdown.held_out_keys()
    assert len(met) > 20


def test_task_splits_are_disjoint_and_test_is_the_same_for_every_seed():
    first, second = (load_task("countdown", train_size=500, seed=seed) for seed in (0, 1))

    def keys(rows):
        return {(tuple(sorted(row["numbers"])), row["target"]) for row in rows}

    assert len(keys(first.test)) == 256
    assert not keys(first.train) & keys(first.test)
    assert first.test.to_list() == second.test.to_list()
    assert first.train["prompt"] != second.train["prompt"]
    assert first.train["prompt"] == load_task("countdown", train_size=500, seed=0).train["prompt"]
    assert len({*first.train["id"], *second.train["id"], *first.test["id"]}) == 500 + 500 + 256


def test_vocabulary_has_111_tokens_and_covers_prompts_and_solutions():
    assert len(set(countdown.VOCABULARY)) == 111
    assert set(f"{Problem((3, 7, 5, 2), 24).prompt} {SOLUTION}".split()) <= set(countdown.VOCABULARY)
    assert len(SOLUTION.split()) + 1 == countdown.MAX_RESPONSE_TOKENS == 25


def test_more_test_problems_than_are_held_out_are_refused():
    with pytest.raises(ValueError, match=r"test_size of countdown must be at most 256.*got 257"):
        load_task("countdown", test_size=257)


def test_chain_longer_than_its_numbers_is_refused():
    with pytest.raises(ValueError, match=r"steps must be in \[1, 3\] for 4 numbers; got 4"):
        countdown.random_chain(random.Random(0), (1, 2, 3, 4), 4)


@given(true_solutions())
def test_kinds_of_a_solution_follow_its_pieces(case):
    text = case[-1]
    step, expected = ["first", "operator", "second", "equals", "result"], []
    for piece in re.findall(r"\d+ [-+*] \d+ = \d+|,(?: \d+)+ ;", text):
        copies = len(piece.split()) - 2
        expected += ["pool", *["copy"] * copies, "next"] if piece[0] == "," else step
    assert countdown.countdown_kinds("", [*text.split(), "<eos>"]) == [*expected, "end"]


@given(st.lists(st.one_of(st.sampled_from(countdown.VOCABULARY), st.text(max_size=4)), max_size=40))
def test_every_token_has_a_kind_whatever_the_text(tokens):
    task = load_task("countdown", train_size=1, test_size=1)
    kinds = task.token_kinds("", tokens)
    assert len(kinds) == len(tokens)
    assert set(kinds) <= {"first", "operator", "second", "equals", "result", "pool", "copy", "next", "end", "other"}
    assert set(task.decision_kinds) <= {"first", "operator", "second", "pool", "end"}
