"""Any data set of the reasoning-gym package, scored by its own ``score_answer`` in a separate process."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from random import Random
from typing import Any
from urllib.parse import unquote_plus

from entroshape.tasks.base import Completion, Task, Verdict, completion_text, optional_module
from entroshape.tasks.code_evaluation import check_may_evaluate, evaluates, needs_process
from entroshape.tasks.fresh import FRESH_SEED, fresh_problems
from entroshape.tasks.score_worker import encode
from entroshape.tasks.spec import TaskSpec
from entroshape.tasks.workers import ScoringPool

INSTRUCTION = "Give the final answer alone, between <answer> and </answer>."
RESERVED = ("seed", "size")
FRESH_DRAWS = 2
"""Number of draws per fresh problem: some are questions of the other splits."""

TEST_SEED = "test"
"""Test problems are the same whatever the run's seed, so that runs can be compared."""
MADE_OF_OTHERS = "composite"
LARGEST_TEST_SHARE = 0.2
"""Maximum share of the questions that is held out, for data sets with few distinct questions."""

_NUMBER = re.compile(r"(?<![\w.)])[-+]?\d[\d,]*(?:\.\d+)?|\d[\d,]*(?:\.\d+)?")


class ReasoningGymReward:
    """A reward function: the data set's own score of the final answer.

    The final answer is the result of :func:`extract_answer`. It is scored in a sandbox with limits of time and memory,
    because some of the package's scorers evaluate it as Python. If the scorer raises, hangs or dies, the completion
    gets reward 0, with a logged warning.

    Args:
        name: the data set.
        options: its options, for ``reasoning_gym.create_dataset``.
        workers: number of processes; by default one per CPU core, at most 8. They start at the first call.
        time_limit: time limit in seconds per completion.
        memory_limit: memory limit per process in bytes, in addition to its libraries (Linux only).

    Raises:
        ValueError: the scorer evaluates answers, and the sandbox is incomplete on this machine; see
            :func:`entroshape.tasks.code_evaluation.check_may_evaluate`.
    """

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        *,
        workers: int | None = None,
        time_limit: float = 5.0,
        memory_limit: int = 1 << 30,
    ) -> None:
        check_may_evaluate(name)
        self.__name__ = f"{name}_reward"
        self._evaluates = evaluates(name)
        self._dataset = {"dataset": name, "options": options}
        self._pool = ScoringPool("reasoning_gym", workers=workers, time_limit=time_limit, memory_limit=memory_limit)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Completion], *, entry: Sequence[str], **columns: Any
    ) -> list[float]:
        """The rewards, one per completion, clipped to ``[0, 1]``. A completion without final answer gets 0."""
        return [verdict.reward for verdict in self.verdicts(prompts, completions, entry=entry)]

    def verdicts(
        self, prompts: Sequence[Any], completions: Sequence[Completion], *, entry: Sequence[str], **columns: Any
    ) -> list[Verdict]:
        """The rewards together with the final answers exactly as :func:`extract_answer` finds them."""
        entries = [json.loads(text) for text in entry]
        answers = [
            extract_answer(completion_text(completion), each["answer"])
            for each, completion in zip(entries, completions, strict=True)
        ]
        jobs = [
            {**self._dataset, "answer": answer, "entry": each, "alone": self._evaluates and needs_process(answer)}
            for each, answer in zip(entries, answers, strict=True)
            if answer
        ]
        scores = iter(self._pool.score(jobs))
        return [
            Verdict(min(1.0, max(0.0, next(scores))), answer) if answer else Verdict(0.0, None) for answer in answers
        ]

    def close(self) -> None:
        """Ends the processes. The next call starts new ones."""
        self._pool.close()


def extract_answer(text: str, expected: object = None) -> str:
    r"""The final answer in ``text``; empty if there is none.

    It is the contents of the last ``<answer>...</answer>``; otherwise, of the last ``\boxed{...}``; otherwise, the last
    number if ``expected`` is a number, or the last line that is not blank if it is not.

    Example:
        >>> extract_answer("So: <answer> 12 </answer>"), extract_answer(r"It is \boxed{\text{red}}.")
        ('12', 'red')
        >>> extract_answer("3 + 9 = 12.", expected="12"), extract_answer("Step 1\nred\n", expected="red")
        ('12', 'red')
    """
    end = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, max(end, 0))
    if 0 <= start < end:
        return text[start + len("<answer>") : end].strip()
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    if isinstance(expected, str) and _NUMBER.fullmatch(expected.strip()):
        numbers = _NUMBER.findall(text)
        return numbers[-1].rstrip(",") if numbers else ""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for place in range(begin - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            inner = text[begin:place].strip()
            wrapped = re.fullmatch(r"\\text\{([^{}]*)\}", inner)
            return (wrapped[1] if wrapped else inner).strip()
    return None


def option_values(options: Mapping[str, str]) -> dict[str, Any]:
    """Parses the options of a spec, ``a=1&b=true&c=0.5&d=word&e=["%2B","-"]``. Values that are not JSON are text.

    Example:
        >>> option_values({"min_terms": "2", "allow_negation": "True", "name": "word"})
        {'min_terms': 2, 'allow_negation': True, 'name': 'word'}
    """
    return {unquote_plus(name): _parse_value(unquote_plus(value)) for name, value in options.items()}


def _parse_value(text: str) -> Any:
    lowered = text.lower() if text.lower() in ("true", "false") else text
    try:
        return json.loads(lowered)
    except ValueError:
        return text


def load_reasoning_gym(spec: TaskSpec, *, train_size: int, test_size: int, seed: int, fresh: int | None = None) -> Task:
    """Loads ``reasoning_gym:<name>`` or ``reasoning_gym:<name>?option=value&...``.

    Questions are distinct, and no question is in both splits. A data set with few distinct questions therefore gives
    fewer problems than requested, and at most a fifth of them are held out. Columns: ``id``, ``prompt`` (the question)
    and ``entry`` (the data set's entry as JSON). With ``fresh``, that many questions of neither split are the test
    problems.

    Raises:
        ValueError: the data set is unknown (the message has the closest names), an option is unknown or its value is
            invalid, there are too few distinct questions, or the scorer evaluates answers and the sandbox is
            incomplete.
    """
    name, options = spec.name, option_values(spec.options)
    _check(name, options)
    reward = ReasoningGymReward(name, options)
    test_pool = _distinct_entries(name, options, TEST_SEED, test_size)
    train_pool = _distinct_entries(name, options, f"train-{seed}", train_size + test_size)
    held_out = min(len(test_pool), int(LARGEST_TEST_SHARE * len(test_pool.keys() | train_pool.keys())))
    test = dict(list(test_pool.items())[:held_out])
    train = [item for item in train_pool.items() if item[0] not in test][:train_size]
    if not test or not train:
        raise ValueError(
            f"{spec.text} has only {len(test_pool | train_pool)} distinct questions: too few to hold out any"
        )
    shown, split = list(test.items()), "test"
    if fresh is not None:
        candidates = _distinct_entries(name, options, FRESH_SEED, FRESH_DRAWS * fresh)
        items = ((question, (question, entry)) for question, entry in candidates.items())
        shown, split = fresh_problems(spec.text, items, test_pool.keys() | train_pool.keys(), fresh), "fresh"
    return Task(
        name=spec.text,
        train=_rows(f"{name}-train-{seed}", train),
        test=_rows(f"{name}-{split}", shown),
        reward=reward,
        max_completion_length=256,
        instruction=INSTRUCTION,
        verdicts=reward.verdicts,
    )


def _check(name: str, options: dict[str, Any]) -> None:
    known = optional_module("reasoning_gym.factory").DATASETS
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else f": {', '.join(sorted(known))}"
        raise ValueError(f"reasoning_gym has no data set {name!r}{hint}")
    if name == MADE_OF_OTHERS:
        raise ValueError(
            f"reasoning_gym:{name} is made of other data sets by Python objects, which a task's name cannot hold; "
            "name one of the data sets instead"
        )
    valid = [field.name for field in fields(known[name][1]) if field.name not in RESERVED]
    for option in options:
        if option in RESERVED:
            raise ValueError(f"option {option!r} of reasoning_gym:{name} is set by the task's own seed and sizes")
        if option not in valid:
            raise ValueError(f"reasoning_gym:{name} has no option {option!r}; it has {', '.join(valid)}")


def _distinct_entries(name: str, options: dict[str, Any], seed: str, size: int) -> dict[str, dict[str, Any]]:
    """Maps the distinct questions among ``size`` draws to their entries."""
    # reasoning-gym seeds its n-th entry with seed + n, so neighbouring seeds would share all entries except one.
    number = Random(f"{name}-{seed}").getrandbits(31)
    try:
        dataset = optional_module("reasoning_gym").create_dataset(name, seed=number, size=size, **options)
        # A few data sets take 0.2 seconds per entry. A bar appears if it takes long.
        places = optional_module("tqdm").tqdm(range(size), desc=f"making {name}", delay=5, leave=False)
        return {entry["question"]: entry for entry in map(dataset.__getitem__, places)}
    except Exception as error:  # each data set has its own way to fail on values that it cannot use
        reason = f"{error}" if isinstance(error, AssertionError | ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"reasoning_gym:{name} does not accept the options {options}: {reason}") from error


def _rows(name: str, items: Sequence[tuple[str, dict[str, Any]]]) -> Any:
    return optional_module("datasets").Dataset.from_dict(
        {
            "id": [f"{name}-{place}" for place in range(len(items))],
            "prompt": [question for question, _ in items],
            "entry": [json.dumps(encode(entry)) for _, entry in items],
        }
    )
