"""A kill -9 at any moment: real processes, really killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

WRITER = """
import sys
from entroshape.runs import RunDirectory

run = RunDirectory.open(sys.argv[1])
rows = [
    dict(step=1, group=i, prompt="p" * 500, completion="c", tokens=["t"] * 200, token_ids=[i] * 200,
         entropy=[0.5] * 200, shaped_reward=[1.0] * 200, advantage=[0.1] * 200, reward=1.0, success=True, gated=False)
    for i in range(40)
]
long = {f"metric_{i}": i / 7 for i in range(800)}
start = len(run.read_metrics())
for step in range(start, 10**9):
    run.append_metrics({"step": step, **long})
    run.write_rollouts(1, [{**row, "step": step} for row in rows])
    run.write_config({"seed": step, "text": "y" * 20_000})
    if step == start:
        print("started", flush=True)
    if step % 7 == 0:
        run.truncate_metrics(step - 3)
        for again in range(max(0, step - 2), step + 1):
            run.append_metrics({"step": again, **long})
"""


def test_a_kill_tears_nothing(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"seed": 0})
    reached = 0
    for round_number in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(run.path)], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "started\n"
            time.sleep(0.1 + 0.013 * round_number)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        rows = run.read_metrics()
        steps = [row["step"] for row in rows]
        assert steps == list(range(len(steps)))
        assert {len(row) for row in rows} == {801}
        assert len({row["step"] for row in run.read_rollouts(1)}) == 1
        assert len(run.read_rollouts(1)) == 40
        assert len(run.read_config()["text"]) == 20_000
        reached = len(steps)
    assert reached > 6
