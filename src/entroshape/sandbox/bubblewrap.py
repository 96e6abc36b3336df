"""The command line that starts a scoring process under bubblewrap: namespaces of its own, and no home directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
LIBRARIES = ("math_verify", "reasoning_gym", "sympy", "py_landlock", "pyseccomp")
"""Packages whose own folders are needed, wherever they are installed."""

FONTS = "/tmp/matplotlib"
"""Where matplotlib, which reasoning-gym imports, looks for its list of fonts, and makes one if there is none."""

PATIENCE = 20.0
"""Seconds that a first process under bubblewrap may take."""


def wrapped(command: list[str]) -> list[str]:
    """``command``, under bubblewrap where that works on this machine; otherwise as it is.

    Not with ``--die-with-parent``: that would be the death of the thread that called. A scoring process ends when its
    connection does.
    """
    prefix = _prefix(tuple(visible()))
    return [*prefix, *command]


@lru_cache(maxsize=4)
def _prefix(visible: tuple[str, ...]) -> list[str]:
    program = shutil.which("bwrap")
    if sys.platform != "linux" or program is None:
        return []
    prefix = [program, "--unshare-all", "--cap-drop", "ALL", "--new-session", "--chdir", "/"]
    # Before what is bound: Python's own folders may lie under /tmp.
    prefix += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--setenv", "MPLCONFIGDIR", FONTS]
    for path in visible:
        prefix += ["--ro-bind", path, path]
    for fonts in _font_lists():
        prefix += ["--ro-bind", str(fonts), f"{FONTS}/{fonts.name}"]
    prefix += ["--remount-ro", "/", "--"]
    try:
        # With no output, as it may be refused (in containers, or where users may make no namespaces): then without.
        tried = subprocess.run([*prefix, sys.executable, "-c", "import ctypes"], capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return prefix if tried.returncode == 0 else []


def _font_lists() -> list[Path]:
    """The user's lists: to make one takes seconds on a machine with many fonts."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "matplotlib"
    folders = [Path(os.environ["MPLCONFIGDIR"])] if os.environ.get("MPLCONFIGDIR") else [cache]
    return [path for folder in folders for path in sorted(folder.glob("fontlist-*.json"))]


def visible() -> list[str]:
    """What the process sees of the file system: programs, Python and its packages; no folder that holds the home."""
    home = Path(os.path.expanduser("~")).resolve()
    return sorted(
        {
            str(path)
            for path in map(Path, _candidates())
            if path.exists() and not home.is_relative_to(path.resolve()) and path != Path("/")
        }
    )


def _candidates() -> Iterable[str]:
    yield from SYSTEM
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    yield from (entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))
    for variable in ("LD_LIBRARY_PATH", "PYTHONPATH"):
        yield from (os.path.abspath(entry) for entry in os.environ.get(variable, "").split(os.pathsep) if entry)
    yield str(Path(__file__).parents[1])
    for name in LIBRARIES:
        spec = find_spec(name)
        if spec is not None:
            yield from spec.submodule_search_locations or [str(spec.origin)]
