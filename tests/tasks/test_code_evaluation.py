"""Which scorers of the installed reasoning-gym evaluate an answer as code: found by feeding code to all of them."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from entroshape.tasks.code_evaluation import CHECKED_VERSION, EVALUATING, needs_process
from entroshape.tasks.enforcement import sandbox_report

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parent / "canary_child.py"


@pytest.mark.skipif(not sandbox_report().complete, reason="code is run in the sandbox alone")
def test_the_list_of_data_sets_that_evaluate_answers_is_that_of_the_installed_reasoning_gym():
    output = subprocess.check_output([sys.executable, CHILD], text=True)
    found = json.loads(output[output.rindex('{"ab"') :])
    assert len(found) >= 100
    executing = {name: answer for name, answer in found.items() if answer is not None}
    new, gone = executing.keys() - EVALUATING, EVALUATING - executing.keys()
    assert not new, (
        f"reasoning-gym {version('reasoning-gym')} has scorers that evaluate an answer and are not in EVALUATING of "
        f"entroshape.tasks.code_evaluation: add {', '.join(f'{name} (it ran {executing[name]!r})' for name in new)}"
    )
    assert not gone, f"these scorers evaluate no answer any more: take {', '.join(gone)} out of EVALUATING"


def test_the_installed_reasoning_gym_is_the_one_that_was_checked():
    assert version("reasoning-gym") == CHECKED_VERSION, (
        "run test_code_evaluation.py with this version of reasoning-gym, mend EVALUATING, and set CHECKED_VERSION"
    )


@pytest.mark.parametrize(
    "answer",
    [
        "(3 + 4) * 6 - 3", "12.5", "[[1, 2], [3, 4]]", "1 2 3", "x**2 + 3*x - 1", "sin(x)*exp(2*x)/2 + C", "a*b",
        "[['_', 'Q'], ['Q', '_']]", "_ Q _ _\nQ _ _ _", "['A', 'B']", "ABCDE", "",
    ],
)  # fmt: skip
def test_honest_answers_share_a_process(answer):
    assert not needs_process(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "__import__('os')", "exit()", "x.__class__", "().__class__", "(1).real", "1 .real", "S('x')", "N(x)", "f'{x}'",
        "print", "[x for x in y]", "lambda: 0", "x := 2", "'ab'.upper()", "x.a", "x. ab", "sin.a", "self", "eval",
        "entry['answer']", "\uff45\uff56\uff41\uff4c('1')", "'x'()", "{}", "a=b", "x;y", "a\\b", "@a", "#", "'__'",
        "ab(c)", "_(1)", "sin(exit)", "Q.x", "\u2167", "1e999",
    ],
)  # fmt: skip
def test_answers_that_can_name_or_call_anything_get_a_process_to_themselves(answer):
    assert needs_process(answer)
