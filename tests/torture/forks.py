"""Commands in processes of their own that start at once: forked from one that has imported everything.

Started by :class:`Commands`. Each line on its input is a request: the arguments of ``entroshape``, a moment to die at
(see ``dying.py``), or a signal after a number of seconds, and the number of ranks. The answer is the exit statuses of
the ranks; negative ones are signals.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


class Commands:
    """The requesting end."""

    def __init__(self, log):
        self.log = log
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "forks.py"), str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip

    def __call__(self, *arguments, **how):
        """Exit status of ``entroshape ARGUMENTS``, or those of all ranks; ``how``: see :func:`carry_out`."""
        self._server.stdin.write(json.dumps({"arguments": list(map(str, arguments)), **how}) + "\n")
        self._server.stdin.flush()
        statuses = json.loads(self._server.stdout.readline())
        return statuses[0] if len(statuses) == 1 else statuses

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def carry_out(log, arguments, moment=None, after=None, sig="SIGKILL", ranks=1, at_once=1):
    """Forks the ranks, sends the first of them ``sig`` after ``after`` seconds, and waits for all.

    With ``at_once``, so many of the same command start at the same moment, and every one comes to its own end.
    """
    if at_once > 1:
        children = [forked(log, arguments, None, 0, 1, 0) for _ in range(at_once)]
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    port = free_port() if ranks > 1 else 0
    running = [forked(log, arguments, moment, rank, ranks, port) for rank in range(ranks)]
    if after is not None:
        deadline = time.monotonic() + after
        while time.monotonic() < deadline and not ended(running[0]):
            time.sleep(0.002)
        os.kill(running[0], getattr(signal, sig))
    statuses = {}
    while len(statuses) < ranks:
        child, status = os.wait()
        statuses[child] = os.waitstatus_to_exitcode(status)
        if statuses[child]:  # as torchrun does: when one fails, the others are ended
            for other in set(running) - statuses.keys():
                os.kill(other, signal.SIGKILL)
    return [statuses[child] for child in running]


def ended(child):
    """Whether a child has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def forked(log, arguments, moment, rank, ranks, port):
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if ranks > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
            os.environ |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        from dying import die_at

        from entroshape.cli import main

        # A shell starts commands in the background with SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if moment:
            die_at(**moment)
        status = main(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(log):
    import entroshape.evaluation.command
    import entroshape.experiments.command
    import entroshape.training.run  # noqa: F401 - so that the forks have it

    for line in sys.stdin:
        print(json.dumps(carry_out(log, **json.loads(line))), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
