"""Scoring processes: one bad answer costs its own point, and no process outlives its use."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroshape.tasks import score_worker, workers
from entroshape.tasks.workers import ScoringPool

pytestmark = pytest.mark.slow

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


def below(process_id):
    """The processes under one: a supervisor's children; under bubblewrap the supervisor itself, too."""
    return psutil.Process(process_id).children(recursive=True)


def judging(pool):
    """The process ids of those that judge now."""
    return [each.pid for process_id in process_ids(pool) for each in below(process_id) if not each.children()]


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
    assert message.startswith("reasoning_gym: 3 of 4 completions got reward 0: exceeded 0.5 s (2), ")
    assert "the scoring process died (1)" in message


def test_a_scorer_that_raises_names_the_error(pool, caplog):
    broken = {**job("x"), "entry": {}}
    assert pool.score([broken, job("x")]) == [0.0, 1.0]
    assert "1 of 2 completions got reward 0: KeyError (1)" in caplog.text


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
    (before,) = judging(pool)
    assert pool.score([job(KEEP), job("x")]) == [0.1, 1.0]
    (after,) = judging(pool)
    assert after != before


def test_a_process_killed_between_calls_costs_nothing(pool):
    pool.score([job("x")])
    (process_id,) = process_ids(pool)
    os.kill(process_id, signal.SIGKILL)
    pool._workers[0].process.wait()
    assert pool.score([job("x")]) == [1.0]


def test_workers_killed_while_idle_cost_no_right_answer_its_point(make_pool):
    pool = make_pool(workers=2)
    for round_ in range(4):
        pool.score([job("x")] * 4)
        for process_id in process_ids(pool):
            victim = (
                psutil.Process(process_id) if round_ % 2 else (below(process_id) or [psutil.Process(process_id)])[-1]
            )
            victim.kill()
        assert pool.score([job("x")] * 10) == [1.0] * 10


SLOW = "['x'] * (__import__('time').sleep(0.5) or 1)"


@pytest.mark.parametrize("target", ["worker", "judge"])
def test_a_process_killed_from_outside_while_it_judges_costs_nothing(make_pool, target):
    pool = make_pool(workers=1)
    pool.score([job("x")])
    (process_id,) = process_ids(pool)
    victim = process_id if target == "worker" else judging(pool)[0]
    killer = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
    killer.start()
    assert pool.score([job(SLOW), job("x")]) == [0.1, 1.0]
    killer.join()


def test_a_job_that_kills_its_process_twice_costs_its_own_point_alone(pool, caplog):
    assert pool.score([job("x"), job(DIE), {**job(DIE), "alone": True}, job("x")]) == [1.0, 0.0, 0.0, 1.0]
    assert "2 of 4 completions got reward 0: the scoring process died (2)" in caplog.text


def program_that_dies(path, times):
    """In the place of Python: kills itself where it would start, the first so many times."""
    path.write_text(
        f"#!/bin/sh\necho x >> {path}.starts\n"
        f'[ $(wc -l < {path}.starts) -gt {times} ] || kill -KILL $$\nexec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("deaths", "starts"), [(2, 3), (3, 3)])
def test_a_worker_that_dies_while_it_starts_is_started_again_twice(make_pool, monkeypatch, tmp_path, deaths, starts):
    monkeypatch.setattr(workers, "START_LIMIT", float("inf"))  # its death is noticed, not its silence
    monkeypatch.setattr(workers, "wrapped", list)  # bubblewrap has no program of this test's
    monkeypatch.setattr(sys, "executable", program_that_dies(tmp_path / "python", deaths))
    pool = make_pool(workers=1)
    if deaths < workers.STARTS:
        assert pool.score([job("x")]) == [1.0]
    else:
        with pytest.raises(RuntimeError, match=r"a scoring process \(reasoning_gym\) cannot start"):
            pool.score([job("x")])
    assert len((tmp_path / "python.starts").read_text().splitlines()) == starts


def test_a_worker_killed_while_it_imports_is_started_again(make_pool):
    pool = make_pool(workers=1)
    killed = []

    def kill_first():
        while not killed:
            process = pool._workers[0].process
            if process is not None:
                killed.append(process.pid)
                process.kill()
            time.sleep(0.001)

    killer = threading.Thread(target=kill_first)
    killer.start()
    assert pool.score([job("x")]) == [1.0]
    killer.join()
    assert killed != process_ids(pool)


POISON = (
    "[setattr(__import__('reasoning_gym').algorithmic.string_insertion.StringInsertionDataset, 'score_answer',"
    " lambda *a: 1.0), 'x'][1:]"
)


def test_an_answer_that_changes_the_scorer_changes_no_later_verdict(make_pool):
    pool = make_pool(workers=1)
    alone = [{**job(answer), "alone": True} for answer in (POISON, "wrong")]
    assert pool.score([alone[0], alone[1], job("wrong")]) == [0.1, 0.0, 0.0]
    assert pool.score([job(POISON), job("wrong")])[1] == 1.0, "the poison works, where a process is shared"


def forged(reply, times="range(1)", then=""):
    """Writes to every file that is open: to the connection on which the scores go, among them."""
    code = f"""
import os
for _ in {times}:
    for descriptor in range(64):
        try:
            os.write(descriptor, {reply!r})
        except OSError:
            pass
{then}
"""
    return f"exec({code!r})"


@pytest.mark.parametrize(
    "reply",
    [b"[" * 100_000 + b"\n", b'{"score": NaN, "answer": null, "large": false}\n', b"1" * 10_000 + b"\n", b"\n", b"[]\n",
     b'{"error": "a\\nb [red]"}\n', b'{"score": "1", "answer": {}, "large": 0}\n', b"\xff\n"],
)  # fmt: skip
def test_a_forged_reply_that_is_no_score_costs_its_own_point(pool, reply):
    assert pool.score([{**job(forged(reply)), "alone": True}, job("x")]) == [0.0, 1.0]


def test_an_answer_that_is_evaluated_can_give_itself_any_score_and_no_other_answer(pool):
    # A known limit, which docs/tasks.md states. The process ends, so that no second reply follows the forged one.
    own = forged(b'{"score": 0.5, "answer": null, "large": false}\n', then="os._exit(0)")
    assert pool.score([{**job(own), "alone": True}, job("x"), job("y")]) == [0.5, 1.0, 0.0]


def test_endless_output_ends_with_its_job(pool):
    endless = forged(b"x" * 65536, times="iter(int, 1)")
    assert pool.score([{**job(endless), "alone": True}, job("x")]) == [0.0, 1.0]


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
        ({"kind": "spelling"}, "kind must be one of math, reasoning_gym, attempts; got 'spelling'"),
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_workers_of_a_killed_run_end_and_never_run_the_users_script(tmp_path, state):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(UNGUARDED_SCRIPT))
    with subprocess.Popen([sys.executable, script, state], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "imported\n"
        process_id = int(run.stdout.readline())
        processes = [process_id, *(each.pid for each in below(process_id))]
        assert len(processes) >= 2
        if os.geteuid() == 0:  # what they have mapped is hidden from others
            assert not any("torch" in Path(f"/proc/{each}/maps").read_text() for each in processes)
        run.kill()
        assert run.stdout.read() == ""
    deadline = time.monotonic() + 20
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, processes))


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
