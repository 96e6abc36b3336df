"""Limits that a process sets on itself and cannot lift: seccomp, Landlock, resource limits. Complete only on Linux.

Libraries know the details: libseccomp (through pyseccomp) the numbers of system calls on every architecture,
py-landlock the access rights of a kernel's Landlock. This module has only our rules.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ALLOWED_CALLS = tuple(
    """
    read readv pread64 lseek write writev close fstat newfstatat stat lstat statx readlink readlinkat access faccessat
    faccessat2 getcwd getdents64 mmap munmap mremap mprotect madvise brk rt_sigaction rt_sigprocmask rt_sigreturn
    sigaltstack futex sched_yield sched_getaffinity set_robust_list rseq clock_gettime clock_getres clock_nanosleep
    nanosleep gettimeofday time getrandom getpid gettid getppid getuid geteuid getgid getegid uname getrusage times
    exit exit_group restart_syscall
    """.split()  # noqa: SIM905 - sixty names with one per line would be hard to read
)
"""System calls for computing, and for importing modules late. ``write`` reaches only open files: reply, /dev/null."""

READING_FLAGS_ONLY = (("open", 1), ("openat", 2))
"""System calls that may open a file, with the position of their flags among the arguments."""

HARMLESS_FCNTL = ("F_GETFD", "F_GETFL")

LIBRARY_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")


def readable_paths() -> list[Path]:
    """Paths that a scoring process may read: Python's folders, system libraries, and the packages that it has imported.

    Folders that contain the home directory are excluded.
    """
    python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    site = [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    system = [Path(name) for name in (*LIBRARY_FOLDERS, *SYSTEM_FILES)]
    private = Path(os.path.expanduser("~")).resolve()
    found = {path.resolve() for path in (*python, *site, *_package_folders(), *system) if path.exists()}
    return sorted(path for path in found if not private.is_relative_to(path))


def _package_folders() -> Iterator[Path]:
    for name, module in list(sys.modules.items()):
        if "." not in name and module is not None:
            yield from map(Path, getattr(module, "__path__", ()))


def restrict_reading(paths: list[Path]) -> str | None:
    """Applies Landlock: this process and its children may only read files under ``paths``.

    Returns:
        The mechanism's name and version; ``None`` if Landlock is not available.
    """
    landlock = _module("py_landlock")
    if landlock is None:
        return None
    try:
        rules = landlock.Landlock(strict=False)
        files = [path for path in paths if not path.is_dir()]
        rules.add_path_rule(*files, access=landlock.AccessFs.READ_FILE)
        rules.allow_read(*(path for path in paths if path.is_dir()))
        rules.apply()
    except landlock.LandlockError:
        return None
    return f"Landlock (ABI {int(rules.abi_version)})"


def system_call_filter() -> Any | None:
    """Builds a seccomp filter. Its ``load()`` refuses all system calls except :data:`ALLOWED_CALLS`, with EPERM.

    Call it before :func:`restrict_reading`, because finding libseccomp runs other programs.

    Returns:
        The filter; ``None`` if libseccomp is not available.
    """
    seccomp = _module("pyseccomp")
    if seccomp is None:
        return None
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in ALLOWED_CALLS:
        _allow(seccomp, rules, name)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | (os.O_TMPFILE & ~os.O_DIRECTORY)
    for name, place in READING_FLAGS_ONLY:
        _allow(seccomp, rules, name, seccomp.Arg(place, seccomp.MASKED_EQ, writing, 0))
    fcntl = importlib.import_module("fcntl")
    for command in HARMLESS_FCNTL:
        _allow(seccomp, rules, "fcntl", seccomp.Arg(1, seccomp.EQ, getattr(fcntl, command)))
    return rules


def _allow(seccomp: ModuleType, rules: Any, name: str, *arguments: Any) -> None:
    # Numbers below -1 are calls that this architecture lacks; -1 is a name that this libseccomp does not know yet.
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    if number >= 0:
        rules.add_rule(seccomp.ALLOW, number, *arguments)


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, OSError, AttributeError):
        # The package or its C library is missing; the two packages report that with different errors.
        return None


def set_resource_limits(memory: int | None) -> None:
    """Forbids writing files, core dumps and new processes (for ordinary users), and limits the address space.

    Args:
        memory: maximum address space in bytes. ``None``: no limit.
    """
    for name in ("RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_MSGQUEUE"):
        if hasattr(resource, name):
            resource.setrlimit(getattr(resource, name), (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # Writing beyond the limit then raises an error instead of ending the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def drop_capabilities() -> None:
    """Drops the superuser's capabilities (Linux only)."""
    if sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)())


def hide_from_children() -> None:
    """Hides this process's memory, environment and open files in /proc from all but the superuser.

    Landlock does not cover all of that: it lets a process open the pipes of another process in the same sandbox.
    """
    if sys.platform == "linux":
        set_dumpable = 4
        ctypes.CDLL(None).prctl(set_dumpable, 0, 0, 0, 0)


def end_with_parent(parent: int, seconds: float) -> None:
    """Ends this process when its parent ends, in whatever way.

    Args:
        parent: process id of the parent.
        seconds: on systems other than Linux, which cannot do that, this process ends after this time instead.
    """
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, int(signal.SIGKILL), 0, 0, 0)
    else:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    if os.getppid() != parent:
        os._exit(0)
