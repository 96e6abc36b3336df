"""Start-up time: `import entroshape` after `import torch`, and `entroshape --help`.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time

from side_by_side import seconds, table, write

IMPORTS = {
    "`import entroshape`": "import entroshape",
    "`from entroshape import GTPO, Rollouts`": "from entroshape import GTPO, Rollouts",
    "`import entroshape.credit.entropy`": "import entroshape.credit.entropy",
}
COMMANDS = {
    "`python -c pass`": ["-c", "pass"],
    "`entroshape --help`": ["-m", "entroshape", "--help"],
    "`python -c 'import torch'`": ["-c", "import torch"],
    "`entroshape train --help`": ["-m", "entroshape", "train", "--help"],
    "`entroshape eval --help`": ["-m", "entroshape", "eval", "--help"],
}


def import_seconds(statement: str) -> float:
    """Seconds that the statement takes in a fresh process that has imported torch."""
    code = f"import time, torch; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout)


def command_seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    repeats = 7
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    commands: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        print(f"  start-up turn {turn} of {repeats}", file=sys.stderr, flush=True)
        for name, statement in IMPORTS.items():
            imports[name] += [import_seconds(statement)][: turn > 0]
        for name, arguments in COMMANDS.items():
            commands[name] += [command_seconds(arguments)][: turn > 0]
    rows = [[f"{name}, after `import torch`", seconds(own), _range(own)] for name, own in imports.items()]
    rows += [[name, seconds(own), _range(own)] for name, own in commands.items()]
    write("start-up", table(["", "median", f"over {repeats} turns"], rows), {"imports": imports, "commands": commands})


def _range(values: list[float]) -> str:
    return f"{1e3 * min(values):.3g} to {1e3 * max(values):.3g} ms"


if __name__ == "__main__":
    main()
