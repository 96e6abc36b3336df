"""Program: which data sets of the installed reasoning-gym evaluate an answer as code. Run by test_code_evaluation.py.

Code is fed to every scorer, inside the sandbox, so that it can do no harm; an audit hook of the interpreter sees when
any of it is executed. Prints a JSON mapping from each data set to the first answer that was executed, or null.
"""

import json
import re
import sys
from contextlib import suppress
from multiprocessing import Pipe

import reasoning_gym
from reasoning_gym.composite import DatasetSpec
from reasoning_gym.factory import DATASETS

from entroshape.sandbox.child import Child, DiedError, LateError, Limits
from entroshape.sandbox.confinement import readable_paths, restrict_reading, system_call_filter

MARK = "entroshape_canary"
CODE = f"__import__('sys').audit('{MARK}')"
FORMS = (
    "{code}",
    "[{code}]",
    "[[{code}]]",
    "({code}, {code})",
    "[{code} or {answer}][0]",
    "{answer} + 0*len([{code}])",
    "{answer} if {code} is None else 0",
    "{answer}\n{code}",
    '["{code}"]',
    '{{"answer": {code}}}',
    "x = {code}",
    "${code}$",
    "{code} = {answer}",
)
SIZE = 3

executed = []


def watch(event, arguments):
    if event == MARK or (event == "exec" and mentions(arguments[0])):
        executed.append(event)


def mentions(code):
    constants = [each for each in code.co_consts if isinstance(each, str)]
    inner = [each for each in code.co_consts if hasattr(each, "co_consts")]
    return MARK in constants or MARK in code.co_names or any(map(mentions, inner))


def hostile(answer):
    """Texts that hold code: alone, around the right answer, and in the place of each of its numbers and words."""
    for form in FORMS:
        yield form.format(code=CODE, answer=answer)
    for place in list(re.finditer(r"\w+", answer))[:12]:
        before, after = answer[: place.start()], answer[place.end() :]
        yield f"{before}({CODE} or {place[0]}){after}"
        yield f"{before}{CODE}{after}"


def first_executed(job):
    sys.addaudithook(watch)
    for entry in entries[job["dataset"]]:
        for answer in hostile(str(entry["answer"])[:2000]):
            with suppress(Exception):
                datasets[job["dataset"]].score_answer(answer, entry)
            if executed:
                return 1.0, answer
    return 0.0, None


datasets, entries = {}, {}


def main():
    found = {}
    members = [DatasetSpec("countdown", 1, {})]
    for name in sorted(DATASETS):
        options = {"datasets": members} if name == "composite" else {}
        datasets[name] = reasoning_gym.create_dataset(name, seed=0, size=SIZE, **options)
        entries[name] = list(datasets[name])
    ours, _theirs = Pipe()
    calls = system_call_filter()
    restrict_reading(readable_paths())
    for name in datasets:
        child = Child(first_executed, Limits(60.0, 1 << 30), calls.load, caller=ours.fileno(), mapped=None)
        try:
            reply = child.ask({"dataset": name})
            found[name] = reply.get("answer", reply.get("error"))
        except (DiedError, LateError) as error:
            found[name] = type(error).__name__
        child.kill()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":  # pytest imports every module here, for its doctests
    main()
