"""Countdown with search: the verifier against an enumeration of pieces, the difficulty, the levels and the splits."""

import random
import re
from functools import cache
from itertools import combinations, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks import countdown_search as search
from entroshape.tasks import countdown_search_problems as problems
from entroshape.tasks import load_task

NUMBERS = st.lists(st.integers(1, 12), min_size=4, max_size=4).map(tuple)
TARGETS = st.integers(10, 60)
SOLUTION = (
    "7 + 5 = 12 lo P3 11 2 12 12 - 2 = 10 lo P2 11 10 11 + 10 = 21 hi B3 11 2 12 12 * 2 = 24 hi P2 11 24 "
    "24 - 11 = 13 lo B4 5 11 2 7 11 - 5 = 6 lo P3 2 7 6 7 + 6 = 13 lo P2 2 13 13 * 2 = 26 hi B2 2 13 13 + 2 = 15 HIT"
)


def steps_from(pool, target):
    """Every step from a pool, as ``(tokens, numbers left)``; a hit leaves ``None``."""
    for i, j in combinations(range(len(pool)), 2):
        a, b = sorted((pool[i], pool[j]), reverse=True)
        for symbol, c in (("+", a + b), ("-", a - b), ("*", a * b)):
            if not 0 < c <= 60:
                continue
            text = f"{a} {symbol} {b} = {c}"
            if c == target:
                yield f"{text} HIT".split(), None
                continue
            left = list(pool)
            del left[left.index(a)]
            del left[left.index(b)]
            left.append(c)
            text += " lo" if c < target else " hi"
            if len(left) > 1:
                text += f" P{len(left)} " + " ".join(map(str, left))
            yield text.split(), left


def pieces_from(path, target):
    """Every whole piece that may come next, as ``(tokens, path behind it)``; ends lead to ``"hit"`` and ``"give"``."""
    if path in ("hit", "give"):
        return [(["<eos>"], "done")]
    if path == "done":
        return []
    found = [(["GIVE"], "give")]
    for place, earlier in enumerate(path[:-1]):
        found.append(([f"B{len(earlier)}", *map(str, earlier)], path[: place + 1]))
    for tokens, left in steps_from(path[-1], target):
        found.append((tokens, "hit" if left is None else [*path, left]))
    return found


def naive_reading(numbers, target, tokens):
    """Piece by piece: the piece that the response goes on with, looked up among all that could come."""
    path, place, hit, ended = [list(numbers)], 0, False, False
    while place < len(tokens):
        rest = list(tokens[place:])
        pieces = pieces_from(path, target)
        whole = [(piece, behind) for piece, behind in pieces if rest[: len(piece)] == piece]
        if whole:
            piece, path = whole[0]
            place += len(piece)
            hit, ended = hit or path == "hit", ended or path in ("hit", "give")
            continue
        agreement = max((common_prefix(piece, rest) for piece, _ in pieces), default=0)
        if agreement < len(rest):
            return False, place + agreement, False
        return False, None, False  # cut short within a piece
    return hit, None, ended


def common_prefix(one, other):
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@st.composite
def random_responses(draw):
    """A random walk over pieces: right so far, wherever it ends."""
    numbers, target, rng = draw(NUMBERS), draw(TARGETS), draw(st.randoms(use_true_random=False))
    path, tokens = [list(numbers)], []
    for _ in range(draw(st.integers(1, 12))):
        pieces = pieces_from(path, target)
        if not pieces:
            break
        # Giving up ends it, so it is left for last.
        piece, path = rng.choice(pieces[1:] or pieces)
        tokens += piece
    return numbers, target, tokens


@st.composite
def damaged_responses(draw):
    numbers, target, tokens = draw(random_responses())
    tokens = list(tokens)
    place, other = (draw(st.integers(0, len(tokens) - 1)) for _ in range(2))
    match draw(st.sampled_from(["replace", "near", "copy", "swap", "drop", "insert", "cut"])):
        case "replace":
            tokens[place] = draw(st.sampled_from(search.VOCABULARY))
        case "near" if tokens[place].isdigit():
            tokens[place] = str(int(tokens[place]) + draw(st.sampled_from([-1, 1])))
        case "copy":
            tokens[place] = tokens[other]
        case "swap":
            tokens[place], tokens[other] = tokens[other], tokens[place]
        case "drop":
            del tokens[place]
        case "insert":
            tokens.insert(place, tokens[other])
        case "cut":
            tokens = tokens[: place + 1]
    return numbers, draw(st.sampled_from([target, target, draw(TARGETS)])), tokens


@given(random_responses())
def test_every_walk_over_whole_pieces_is_right(case):
    numbers, target, tokens = case
    assert search.read_response(*case) == naive_reading(*case)
    assert search.read_response(*case).first_error is None
    assert search.is_solution(numbers, target, " ".join(tokens)) == ("HIT" in tokens)


@given(damaged_responses())
def test_reading_of_damaged_responses_equals_the_lookup_among_all_pieces(case):
    assert search.read_response(*case) == naive_reading(*case)


@given(random_responses(), st.data())
def test_one_token_put_for_another_is_an_error_there_or_another_right_search(case, data):
    numbers, target, tokens = case
    place = data.draw(st.integers(0, len(tokens) - 1))
    token = data.draw(st.sampled_from([token for token in search.VOCABULARY if token != tokens[place]]))
    reading = search.read_response(numbers, target, [*tokens[:place], token, *tokens[place + 1 :]])
    assert reading.first_error is None or reading.first_error >= place
    if search.countdown_search_kinds("", tokens)[place] not in ("first", "operator", "second", "back", "give"):
        assert reading.first_error == place, "a token that follows from those before it has no other that is right"


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("", "nothing"),
        (SOLUTION.replace("24 - 11 = 13", "24 - 11 = 14"), "a false result"),
        (SOLUTION.replace("15 HIT", "15 lo"), "a hit that is not noticed"),
        (SOLUTION[: SOLUTION.index("13 lo")] + "13 HIT", "a hit that is none"),
        (SOLUTION.replace("= 21 hi", "= 21 lo"), "a false check"),
        (SOLUTION.replace("P3 11 2 12 12", "P3 2 11 12 12"), "numbers left in another order"),
        (SOLUTION.replace(" P3 11 2 12 12", " 12", 1), "numbers left unsaid"),
        (SOLUTION.replace("B3 11 2 12", "B2 11 10"), "back to where one of the ways was abandoned"),
        (SOLUTION.replace("B4 5 11 2 7", "B4 5 11 7 2"), "the start restated in another order"),
        (SOLUTION.replace("B2 2 13 13 + 2", "13 + 2"), "a step from one number"),
        (SOLUTION.replace("7 + 5 = 12", "5 + 7 = 12"), "the smaller operand first"),
        (SOLUTION.replace("11 - 5", "11 - 3"), "a number that is not there"),
        (f"{SOLUTION} GIVE", "more after the hit"),
        (f"{SOLUTION} {SOLUTION}", "the solution twice"),
        (f"Sure! {SOLUTION}", "words before"),
        (SOLUTION.replace(" 15", " 015"), "a leading zero"),
        (SOLUTION.replace(" 15", " \u0661\u0665"), "digits of another script"),
        (SOLUTION.replace(" HIT", " GIVE"), "giving up in place of the check"),
    ],
)
def test_anything_but_a_solution_is_refused(text, flaw):
    assert text != SOLUTION
    assert not search.is_solution((5, 11, 2, 7), 15, text), flaw


def test_a_solution_counts_with_and_without_its_eos_and_after_any_number_of_dead_ends():
    tokens = SOLUTION.split()
    assert search.is_solution((5, 11, 2, 7), 15, SOLUTION)
    assert search.read_response((5, 11, 2, 7), 15, [*tokens, "<eos>"]) == (True, None, True)
    assert search.read_response((5, 11, 2, 7), 15, [*tokens, "<eos>", "<eos>"]) == (False, len(tokens) + 1, False)
    again = "7 + 5 = 12 lo P3 11 2 12 B4 5 11 2 7 " * 3000
    assert search.is_solution((5, 11, 2, 7), 15, again + SOLUTION)


def test_a_straight_line_takes_25_tokens_and_further_dead_ends_9_19_or_30():
    ends = [place for place, (kind, after) in enumerate(pairs(SOLUTION)) if kind == "check" and after == "back"]
    assert [ends[0] + 1, *(ends[k + 1] - ends[k] for k in range(2))] == [25, 19, 30]
    assert len(SOLUTION.split()) == 25 + 19 + 30 + 9


def pairs(text):
    kinds = search.countdown_search_kinds("", text.split())
    return list(pairwise(kinds))


PIECES = st.one_of(
    st.sampled_from([*search.VOCABULARY, "9" * 5000, "²", "٣", "1_0", "+3", "0x3", "\x00", "\ud800", "1e5", "61", "0"]),
    st.text(max_size=4),
)


@given(NUMBERS, TARGETS, st.lists(PIECES, max_size=40))
def test_no_text_makes_the_verifier_or_the_kinds_raise(numbers, target, tokens):
    text = " ".join(tokens)
    rewards = search.countdown_search_reward(["?"], [text], numbers=[numbers], target=[target])
    assert rewards == [float(naive_reading(numbers, target, text.split())[0])]
    kinds = search.countdown_search_kinds("?", tokens)
    assert len(kinds) == len(tokens)
    assert set(kinds) <= set(search.KINDS)


@given(random_responses())
def test_kinds_follow_the_pieces(case):
    _, _, tokens = case
    text = " ".join(tokens)
    expected = []
    for piece in re.findall(r"\d+ [-+*] \d+ = \d+ \w+|[PB][432](?: \d+(?= |$)(?! [-+*]))+|GIVE|<eos>", text):
        words = piece.split()
        if piece[0] in "PB":
            expected += ["pool" if piece[0] == "P" else "back", *["copy"] * (len(words) - 1)]
        elif len(words) == 1:
            expected.append({"GIVE": "give", "<eos>": "end"}[piece])
        else:
            expected += ["first", "operator", "second", "equals", "result", "check"]
    assert search.countdown_search_kinds("", tokens) == expected


def random_line(rng, pool, target):
    """Whether a straight line of uniform distinct actions hits."""
    while True:
        steps = {tuple(tokens[:6]): left for tokens, left in steps_from(pool, target)}
        if not steps:
            return False
        pool = rng.choice(list(steps.values()))
        if pool is None:
            return True


@pytest.mark.parametrize(("numbers", "target"), [((5, 11, 2, 7), 15), ((3, 3, 4, 4), 21), ((12, 12, 1, 1), 24)])
def test_hit_probability_is_the_share_of_random_lines_that_hit(numbers, target):
    rng, draws = random.Random(0), 4000
    share = sum(random_line(rng, list(numbers), target) for _ in range(draws)) / draws
    chance = problems.hit_probability(numbers, target)
    assert abs(share - chance) < 4 * (chance * (1 - chance) / draws) ** 0.5 + 1e-9
    assert 0 < chance < 1


@cache
def naive_chance(pool, target):
    steps = {tuple(tokens[:6]): left for tokens, left in steps_from(pool, target)}
    chances = [1.0 if left is None else naive_chance(tuple(left), target) for left in steps.values()]
    return sum(chances) / len(chances) if chances else 0.0


@given(NUMBERS, TARGETS)
def test_hit_probability_equals_the_enumeration_of_all_lines_in_any_order_of_the_numbers(numbers, target):
    assert problems.hit_probability(numbers, target) == pytest.approx(naive_chance(numbers, target), rel=1e-12)
    assert problems.hit_probability(numbers[::-1], target) == problems.hit_probability(numbers, target)


def test_there_are_39484_problems_with_a_solution():
    assert len(problems.solvable_problems()) == 39_484
    assert min(problems.solvable_problems().values()) > 0


@pytest.mark.parametrize("level", problems.LEVELS)
def test_splits_of_a_level_are_disjoint_within_its_bounds_and_the_same_for_every_seed(level):
    lowest, highest = problems.LEVELS[level]
    first, second = (load_task(f"countdown_search?level={level}", train_size=500, seed=seed) for seed in (0, 1))
    for rows in (first.train, first.test):
        assert all(lowest < chance <= highest for chance in rows["hit_probability"])
        for row in rows:
            assert row["prompt"] == f"{' '.join(map(str, row['numbers']))} -> {row['target']} :"
            assert row["target"] not in row["numbers"]
    assert first.test.to_list() == second.test.to_list()
    assert first.train["prompt"] != second.train["prompt"]
    assert len({(tuple(sorted(row["numbers"])), row["target"]) for row in first.test}) == 256
    assert len({*first.train["id"], *second.train["id"], *first.test["id"]}) == 500 + 500 + 256
    drawn = islice(problems.training_problems(level, 3), 20_000)
    assert not {problem.key for problem in drawn} & problems.held_out_keys()


def test_held_out_problems_never_change():
    # The bundled model was trained without exactly these: another list would make its held-out scores meaningless.
    assert problems.held_out_problems("hard")[0] == problems.Problem(numbers=(9, 10, 6, 10), target=31)
    sums = {level: sum(problem.target for problem in problems.held_out_problems(level)) for level in problems.LEVELS}
    assert sums == {"easy": 6066, "middle": 8881, "hard": 10079}


def test_the_task_names_the_kinds_of_its_tokens_and_is_hard_unless_told_otherwise():
    task = load_task("countdown_search", train_size=4, test_size=3)
    assert task.test["id"][0] == "countdown_search-hard-test-0"
    assert task.token_kinds(task.test["prompt"][0], ["7", "+", "5", "<eos>"]) == ["first", "operator", "second", "end"]
    assert set(task.decision_kinds) <= set(search.KINDS)
    assert task.first_error is search.countdown_search_first_error


@given(NUMBERS, TARGETS, st.lists(PIECES, max_size=40))
def test_the_first_false_token_is_where_the_naive_reading_fails_and_a_success_has_none(numbers, target, tokens):
    prompt = f"{' '.join(map(str, numbers))} -> {target} :"
    hit, error, _ = naive_reading(numbers, target, tokens)
    assert search.countdown_search_first_error(prompt, tokens) == error
    assert not hit or error is None


@pytest.mark.parametrize("query", ["level=harder", "levels=hard", "hard", "level=", "level=hard&level=easy"])
def test_another_query_is_refused(query):
    refused = r"countdown_search takes level=easy, level=middle, level=hard|must look like name=value|is given twice"
    with pytest.raises(ValueError, match=refused):
        load_task(f"countdown_search?{query}")


def test_more_test_problems_than_are_held_out_are_refused():
    with pytest.raises(ValueError, match=r"test_size of countdown_search must be at most 256.*got 257"):
        load_task("countdown_search", test_size=257)
