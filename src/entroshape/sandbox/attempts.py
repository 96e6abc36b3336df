"""Attempts at everything that the sandbox forbids, one function each. The sandbox report is based on them.

A function returns if its attempt succeeds, and raises otherwise. A scoring process runs them in place of a scorer.
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class NothingHappenedError(Exception):
    """The attempt raised nothing and had no effect."""


def fork(target: None) -> None:
    """Starts a process."""
    if not os.fork():
        os._exit(0)


def program(target: None) -> None:
    """Starts a program."""
    subprocess.run(["/bin/true"], check=True)


def replace_program(target: None) -> None:
    """Replaces this process with another program."""
    os.execv("/bin/true", ["true"])


def signal_parent(target: None) -> None:
    """Sends signal 0 to the supervisor."""
    os.kill(os.getppid(), 0)


def signal_process(target: int) -> None:
    """Sends signal 0 to the caller, the trainer."""
    os.kill(target, 0)


def signal_group(target: int) -> None:
    """Sends signal 0 to the caller's process group."""
    os.killpg(target, 0)


def stop_self(target: None) -> None:
    """Sends a signal to itself."""
    signal.raise_signal(signal.SIGCONT)


def trace_parent(target: None) -> None:
    """Traces another process, as a debugger does."""
    attach, detach = 16, 17
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(attach, os.getppid(), 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(os.getppid(), 0)
    libc.ptrace(detach, os.getppid(), 0, 0)


def internet_socket(target: None) -> None:
    """Opens an internet socket."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def unix_socket(target: None) -> None:
    """Opens a Unix socket."""
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()


def socket_pair(target: None) -> None:
    """Opens a pair of connected sockets."""
    for each in socket.socketpair():
        each.close()


def write_file(target: str) -> None:
    """Writes a file in ``target``, a folder that everybody may write to."""
    path = Path(target) / f"entroshape-{os.getpid()}"
    path.write_text("x")
    path.unlink()


def append_to_file(target: str) -> None:
    """Appends to the file ``target``."""
    with open(target, "ab", buffering=0) as file:
        file.write(b"x")


def make_folder(target: str) -> None:
    """Creates a folder in ``target``."""
    path = Path(target) / f"entroshape-{os.getpid()}"
    path.mkdir()
    path.rmdir()


def file_in_memory(target: None) -> None:
    """Creates an anonymous file in memory, which does not count towards the memory limit of a process."""
    os.close(os.memfd_create("entroshape"))


def shared_memory(target: None) -> None:
    """Creates shared memory that outlives its process."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.shmget(0, mmap.PAGESIZE, 0o1600)
    if number < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    libc.shmctl(number, 0, None)


def message_queue(target: None) -> None:
    """Creates a message queue, which outlives its process."""
    name = f"/entroshape-{os.getpid()}".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR, 0o600, None)
    if queue < 0:
        raise OSError(ctypes.get_errno(), "mq_open")
    libc.mq_unlink(name)


def read_file(target: str) -> None:
    """Reads the file ``target``."""
    with open(target, "rb", buffering=0) as file:
        file.read(1)


def list_folder(target: tuple[str, list[str]]) -> None:
    """Lists a folder. ``target`` is its path and the names in it that must not be visible."""
    folder, private = target
    if not set(private) & set(os.listdir(folder)):
        raise NothingHappenedError


def parents_process_files(target: None) -> None:
    """Reads the supervisor's environment in /proc."""
    read_file(f"/proc/{os.getppid()}/environ")


def process_files(target: int) -> None:
    """Reads the environment of the caller, the trainer, in /proc."""
    read_file(f"/proc/{target}/environ")


def parents_open_files(target: None) -> None:
    """Opens a pipe of the supervisor through /proc."""
    folder = f"/proc/{os.getppid()}/fd"
    for number in range(3, 64):
        try:
            return os.close(os.open(f"{folder}/{number}", os.O_RDONLY | os.O_NONBLOCK))
        except (FileNotFoundError, PermissionError):
            continue
        except OSError:
            # The descriptor is visible, but it is a socket, which cannot be opened through /proc.
            return None
    raise NothingHappenedError


def own_process_files(target: None) -> None:
    """Reads its own initial environment in /proc."""
    read_file("/proc/self/environ")


def environment_variable(target: str) -> None:
    """Reads the environment variable ``target``."""
    if target not in os.environ:
        raise NothingHappenedError


def take_memory(target: int) -> None:
    """Allocates ``target`` bytes of memory."""
    bytearray(target)[-1]


def lift_limits(target: None) -> None:
    """Lifts its own memory limit."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def survive_parent(target: None) -> None:
    """Removes the signal that kills it when its supervisor ends."""
    set_death_signal = 1
    if ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def load_code(target: None) -> None:
    """Imports a module of the standard library. This has to work, because libraries import modules late."""
    importlib.reload(importlib.import_module("colorsys"))


ATTEMPTS: dict[str, Callable[[Any], None]] = {
    function.__name__: function
    for function in (
        fork,
        program,
        replace_program,
        signal_parent,
        signal_process,
        signal_group,
        stop_self,
        trace_parent,
        internet_socket,
        unix_socket,
        socket_pair,
        write_file,
        append_to_file,
        make_folder,
        file_in_memory,
        shared_memory,
        message_queue,
        read_file,
        list_folder,
        parents_process_files,
        process_files,
        parents_open_files,
        own_process_files,
        environment_variable,
        take_memory,
        lift_limits,
        survive_parent,
        load_code,
    )
}
"""The attempts by name."""


def attempt(name: str, target: Any) -> tuple[float, str | None]:
    """Runs an attempt. Returns 1 if it succeeds; otherwise 0 and the name of the error."""
    try:
        ATTEMPTS[name](target)
    except (OSError, MemoryError, AttributeError, ValueError, NothingHappenedError) as error:
        return 0.0, type(error).__name__
    return 1.0, None
