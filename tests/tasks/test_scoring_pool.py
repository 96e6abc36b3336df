"""Scoring processes: one bad answer costs its own point, and no process outlives its use."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks import score_worker
from entroshape.tasks.workers import ScoringPool

HANG = "__import__('time').sleep(60)"
HANG_IN_C = "10 ** 10 ** 9"
DIE = "__import__('os')._exit(3)"
EXIT = "exit()"
EAT = "['x'] * 10 ** 10"
KEEP = "__import__('builtins').__dict__.setdefault('kept', bytearray(b'x') * (200 << 20)) and ['x']"


def job(answer):
    """A job whose scorer evaluates the answer as Python: reasoning-gym gives a tenth to a list of the right letters."""
    return {"dataset": "string_insertion", "options": {}, "answer": answer, "entry": {"answer": "x"}}


@pytest.fixture
def make_pool():
    pools = []

    def make(**options):
        pools.append(ScoringPool("reasoning_gym", **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture(scope="module")
def pool():
    """One process for the tests that need nothing special: starting one takes a second."""
    pool = ScoringPool("reasoning_gym", workers=1, time_limit=1.0)
    yield pool
    pool.close()


def process_ids(pool):
    return [worker.process and worker.process.pid for worker in pool._workers]


@pytest.mark.parametrize("bad", [HANG_IN_C, DIE, EXIT, EAT])
def test_a_bad_answer_costs_its_own_point_alone(pool, bad):
    assert pool.score([job(answer) for answer in ("x", bad, "x")]) == [1.0, 0.0, 1.0]
    assert pool.score([job("x")]) == [1.0]


def test_scores_keep_the_order_of_the_jobs_and_failures_are_logged_once_with_reasons(make_pool, caplog):
    pool = make_pool(workers=2, time_limit=0.5)
    answers = ["x", "['x']", "y"] * 20
    assert pool.score([job(answer) for answer in answers]) == [1.0, 0.1, 0.0] * 20
    assert not caplog.records
    pool.score([job(answer) for answer in ("x", HANG, HANG, DIE)])
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("reasoning_gym: 3 of 4 answers scored 0: more than 0.5 s (2), ")
    assert "the scoring process died (1)" in message


def test_a_scorer_that_raises_names_the_error(pool, caplog):
    broken = {**job("x"), "entry": {}}
    assert pool.score([broken, job("x")]) == [0.0, 1.0]
    assert "1 of 2 answers scored 0: KeyError (1)" in caplog.text


def test_processes_start_at_the_first_job_and_are_kept(make_pool):
    pool = make_pool(workers=1)
    assert process_ids(pool) == [None]
    pool.score([job("x")])
    before = process_ids(pool)
    pool.score([job("x")])
    assert process_ids(pool) == before != [None]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_a_process_grown_large_is_replaced_and_its_answer_counts(make_pool):
    pool = make_pool(workers=1, memory_limit=300 << 20)
    pool.score([job("x")])
    (before,) = process_ids(pool)
    assert pool.score([job(KEEP), job("x")]) == [0.1, 1.0]
    assert process_ids(pool) != [before]


def test_a_process_killed_between_calls_costs_nothing(pool):
    pool.score([job("x")])
    (process_id,) = process_ids(pool)
    os.kill(process_id, signal.SIGKILL)
    pool._workers[0].process.wait()
    assert pool.score([job("x")]) == [1.0]


def test_close_ends_the_processes_and_the_next_job_starts_new_ones(pool):
    pool.score([job("x")])
    process = pool._workers[0].process
    pool.close()
    assert process.poll() is not None
    assert pool.score([job("x")]) == [1.0]


def test_a_worker_that_cannot_start_says_why_instead_of_scoring_zero(make_pool, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"a scoring process \(reasoning_gym\) cannot start"):
        make_pool(workers=1).score([job("x")])


def test_no_jobs_no_processes(make_pool):
    pool = make_pool(workers=1)
    assert pool.score([]) == []
    assert process_ids(pool) == [None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "spelling"}, "kind must be one of math, reasoning_gym; got 'spelling'"),
        ({"workers": 0}, "workers must be positive; got 0"),
        ({"time_limit": -1.0}, "time_limit must be positive; got -1.0"),
        ({"memory_limit": 0}, "memory_limit must be positive; got 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ScoringPool(**{"kind": "math", **options})


UNGUARDED_SCRIPT = """
    from entroshape.tasks.math_verifier import MathReward
    import sys, time
    print("imported", flush=True)
    reward = MathReward(workers=1, time_limit=1.0)
    assert reward(["?"], [r"\\boxed{4}"], answer=["4"]) == [1.0]
    (worker,) = reward._pool._workers
    print(worker.process.pid, flush=True)
    if sys.argv[1:] == ["busy"]:
        import json
        worker.connection.send_bytes(json.dumps({"gold": "1", "text": r"\\boxed{9^{9^{9^9}}}"}).encode())
    time.sleep(60)
"""


def alive(process_id):
    try:
        return "Z" not in Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_workers_of_a_killed_run_end_and_never_run_the_users_script(tmp_path, state):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(UNGUARDED_SCRIPT))
    with subprocess.Popen([sys.executable, script, state], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "imported\n"
        process_id = int(run.stdout.readline())
        assert "torch" not in Path(f"/proc/{process_id}/maps").read_text()
        run.kill()
        assert run.stdout.read() == ""
    deadline = time.monotonic() + 20
    while alive(process_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(process_id)


JSON_LIKE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.integers(0, 5), st.tuples(st.integers(0, 3))), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


def typed(value):
    if isinstance(value, dict):
        return dict, [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    return type(value), value


@given(JSON_LIKE)
def test_entries_survive_json_with_tuples_and_keys_as_they_were(value):
    assert typed(score_worker.decode(json.loads(json.dumps(score_worker.encode(value))))) == typed(value)


def test_an_entry_that_json_cannot_hold_is_refused():
    with pytest.raises(TypeError, match="cannot be written as JSON: set"):
        score_worker.encode({"seen": {1, 2}})
