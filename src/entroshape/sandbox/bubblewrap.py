"""The command line that starts a scoring process under bubblewrap, in its own namespaces and without home directory."""

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
"""Packages whose folders are made visible, wherever they are installed."""

FONTS = "/tmp/matplotlib"
"""Where matplotlib, which reasoning-gym imports, looks for its font list, and creates one if there is none: in the
/tmp of the sandbox, which is empty and not that of the machine."""

PATIENCE = 20.0
"""Time limit in seconds for a first test process under bubblewrap."""


def wrapped(command: list[str]) -> list[str]:
    """Wraps ``command`` in bubblewrap if that works on this machine; otherwise returns it unchanged.

    ``--die-with-parent`` is not used, because it kills the process when the *thread* that started it ends. A scoring
    process ends when its connection closes.
    """
    prefix = _prefix(tuple(visible()))
    return [*prefix, *command]


@lru_cache(maxsize=4)
def _prefix(visible: tuple[str, ...]) -> list[str]:
    program = shutil.which("bwrap")
    if sys.platform != "linux" or program is None:
        return []
    prefix = [program, "--unshare-all", "--cap-drop", "ALL", "--new-session", "--chdir", "/"]
    # These come before the bound folders, because Python's own folders may be under /tmp.
    prefix += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--setenv", "MPLCONFIGDIR", FONTS]
    for path in visible:
        prefix += ["--ro-bind", path, path]
    for fonts in _font_lists():
        prefix += ["--ro-bind", str(fonts), f"{FONTS}/{fonts.name}"]
    prefix += ["--remount-ro", "/", "--"]
    try:
        # Bubblewrap may be refused (in containers, or if users may not create namespaces); then it is not used.
        tried = subprocess.run([*prefix, sys.executable, "-c", "import ctypes"], capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return prefix if tried.returncode == 0 else []


def _font_lists() -> list[Path]:
    """The user's font lists. Creating one takes seconds on a machine with many fonts."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "matplotlib"
    folders = [Path(os.environ["MPLCONFIGDIR"])] if os.environ.get("MPLCONFIGDIR") else [cache]
    return [path for folder in folders for path in sorted(folder.glob("fontlist-*.json"))]


def visible() -> list[str]:
    """The visible part of the file system: programs, Python and its packages, but no folder that contains the home."""
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
