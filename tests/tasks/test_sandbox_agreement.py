"""The sandbox changes no honest verdict: every data set scores its own answers as it does outside."""

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

from entroshape.tasks.score_worker import encode
from entroshape.tasks.workers import ScoringPool

pytestmark = pytest.mark.slow


def outside(dataset, answer, entry):
    try:
        return float(dataset.score_answer(answer, entry))
    except Exception as error:  # noqa: BLE001 - some scorers raise, and are to raise the same in the sandbox
        return type(error).__name__


def test_every_data_set_scores_in_the_sandbox_as_outside():
    jobs, expected = [], []
    for name in sorted(DATASETS.keys() - {"composite"}):
        dataset = reasoning_gym.create_dataset(name, seed=1, size=2)
        first, second = dataset
        # A right answer, one of another problem, and one of no form at all.
        for answer in (str(first["answer"]), str(second["answer"]), "7"):
            jobs.append({"dataset": name, "options": {}, "answer": answer, "entry": encode(first)})
            expected.append((name, outside(dataset, answer, first)))
    pool = ScoringPool("reasoning_gym", workers=2, time_limit=30.0)
    try:
        for alone in (False, True):
            found = pool.judge([{**job, "alone": alone} for job in jobs])
            scores = [each.failure or each.score for each in found]
            assert [(name, score) for (name, _), score in zip(expected, scores, strict=True)] == expected
    finally:
        pool.close()
