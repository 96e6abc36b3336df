"""The journal of an evaluation: what a kill leaves is gone on with, and nothing of other options is mixed in."""

import dataclasses
import math

import pytest
from evaluation_inputs import tiny_model, tiny_task, tiny_tokenizer

from entroshape.evaluation.evaluator import EvaluationOptions, evaluate_sampler
from entroshape.evaluation.journal import Journal
from entroshape.evaluation.transformers_sampler import TransformersSampler

pytestmark = pytest.mark.slow

OPTIONS = {"model": "tiny", "seed": 0, "reward": None, "temperature": 1.0}
SAMPLING = EvaluationOptions(samples=4, batch_size=5)


class CountingEngine(TransformersSampler):
    """Counts the batches that it samples."""

    calls = 0

    def sample(self, *arguments, **options):
        self.calls += 1
        return super().sample(*arguments, **options)


def evaluated(journal, sampling=SAMPLING, task=None, **options):
    engine = CountingEngine(tiny_model(), tiny_tokenizer())
    return evaluate_sampler(engine, task or tiny_task(), sampling, journal=journal, **options), engine.calls


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted evaluation: its result and the bytes of its journal."""
    path = tmp_path_factory.mktemp("whole") / "a.partial"
    journal = Journal(path, OPTIONS)
    result, calls = evaluated(journal)
    journal.close()
    assert calls == 4
    return result, path.read_bytes()


def test_a_journal_changes_no_answer(whole):
    assert evaluated(None)[0].rows == whole[0].rows


def test_wherever_a_kill_tears_the_file_the_rest_is_done_and_the_rows_are_the_same(whole, tmp_path):
    result, content = whole
    ends = [i for i, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == 5
    cuts = {0, 1, len(content)} | {end + shift for end in ends for shift in (-7, 0, 1)}
    for cut in sorted(cut for cut in cuts if cut <= len(content)):
        path = tmp_path / f"{cut}.partial"
        path.write_bytes(content[:cut])
        journal = Journal(path, OPTIONS)
        kept = max(0, content[:cut].count(b"\n") - 1)
        assert len(journal.batches) == kept
        again, calls = evaluated(journal)
        journal.close()
        assert calls == 4 - kept
        assert again.rows == result.rows
        assert again.metrics == result.metrics
        assert path.read_bytes() == content


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.7), ("seed", 1), ("reward", "m:f"), ("model", "other")])
def test_an_option_that_differs_is_named(whole, tmp_path, name, value):
    path = tmp_path / "a.partial"
    path.write_bytes(whole[1])
    with pytest.raises(ValueError, match=f"^{name} is {value!r}, but .* was made with {OPTIONS[name]!r}: use the same"):
        Journal(path, {**OPTIONS, name: value})
    assert path.read_bytes() == whole[1]


def test_options_may_change_where_no_batch_is_done_yet(tmp_path):
    path = tmp_path / "a.partial"
    Journal(path, OPTIONS)._held.close()
    assert path.exists()
    journal = Journal(path, {**OPTIONS, "seed": 7})
    assert journal.batches == []
    journal.close()
    assert not path.exists()


def test_batches_of_other_sizes_are_refused(whole, tmp_path):
    path = tmp_path / "a.partial"
    path.write_bytes(whole[1])
    journal = Journal(path, OPTIONS)
    with pytest.raises(ValueError, match="batches of the journal must match these options; got 4 with different sizes"):
        evaluated(journal, dataclasses.replace(SAMPLING, batch_size=3))
    journal.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0], b"{", *lines[2:]], ":2: not JSON: Expecting property name .*Delete the file"),
        (lambda lines: [lines[0], b"3", *lines[2:]], ":2: expected a JSON object; got '3'"),
        (lambda lines: [lines[0], *lines[2:]], "expected batch 0; got batch 1"),
    ],
)
def test_damage_in_the_middle_is_named_and_not_skipped(whole, tmp_path, damage, message):
    path = tmp_path / "a.partial"
    path.write_bytes(b"\n".join(damage(whole[1].split(b"\n"))))
    with pytest.raises(ValueError, match=message):
        Journal(path, OPTIONS)


def test_two_processes_do_not_write_one_journal(tmp_path):
    first = Journal(tmp_path / "a.partial", OPTIONS)
    with pytest.raises(ValueError, match="another process is writing"):
        Journal(tmp_path / "a.partial", OPTIONS)
    first.close()
    Journal(tmp_path / "a.partial", OPTIONS).close()


def test_an_answer_that_is_no_number_is_named(tmp_path):
    journal = Journal(tmp_path / "a.partial", OPTIONS)
    with pytest.raises(ValueError, match=r"answers\[1\]\['entropy'\] must be a finite number.*got nan"):
        journal.append([{"entropy": 0.5}, {"entropy": math.nan}])
    journal.close()


def test_a_batch_is_scored_before_the_next_is_sampled(tmp_path):
    """A verifier that fails at the third batch leaves two whole ones behind, sampled and scored."""
    calls = []

    def fails_at_third(prompts, completions, **columns):
        calls.append(len(completions))
        if len(calls) == 3:
            raise KeyError("answer")
        return [1.0] * len(completions)

    journal = Journal(tmp_path / "a.partial", OPTIONS)
    with pytest.raises(RuntimeError, match="fails_at_third"):
        evaluated(journal, task=tiny_task(reward=fails_at_third))
    journal.close()
    assert calls == [5, 5, 5]
    assert [len(batch) for batch in Journal(tmp_path / "a.partial", OPTIONS).batches] == [5, 5]
