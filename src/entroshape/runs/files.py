"""Atomic and append-only files that a kill cannot corrupt, file locks, and the environment of a run."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from entroshape.printable import shown

try:
    import fcntl
except ImportError:  # Windows has no fcntl, so nothing there prevents two processes from writing the same file
    fcntl = None  # type: ignore[assignment]

PACKAGES = ("entroshape", "torch", "transformers", "trl", "accelerate", "peft", "datasets")
"""Packages whose versions are recorded."""


WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Error numbers of file systems without locks, such as some network file systems."""


def write_aside(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Writes ``path`` atomically: to a temporary file that is flushed to disk and then renamed over ``path``."""
    aside = aside_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        try:
            with aside.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        fsync_directory(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names ``path`` in errors that are raised while it is written.

    Raises:
        OSError: writing failed; the message has the path and the reason. The system's own message for a full disk may
            lack the path.
    """
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}{_space(path, error)}") from error


def aside_of(path: Path) -> Path:
    """The temporary name of ``path`` for this process.

    Host and process are part of it, because several processes may write the same file at the same time.
    """
    return path.with_name(f"{_leftover_prefix(path)}{os.getpid()}.aside")


def _leftover_prefix(path: Path) -> str:
    return f".{path.name}.{platform.node()}."


def remove_leftovers(path: Path) -> None:
    """Removes temporary files and directories of ``path`` that killed processes of this host left behind.

    Whether a process of another host is alive cannot be told from here, so its files on a shared file system stay.
    """
    prefix = _leftover_prefix(path)
    for file in path.parent.iterdir():
        process = file.name.removeprefix(prefix).removesuffix(".aside")
        if file.name == f"{prefix}{process}.aside" and process.isdigit() and not _is_alive(int(process)):
            if file.is_dir():
                shutil.rmtree(file, ignore_errors=True)
            else:
                file.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _space(path: Path, error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "; files that were complete are intact, and the run can be resumed once there is space" if full else ""


def taken(file: IO[bytes]) -> bool:
    """Locks an open file for this process and those that inherit it, unless another process holds the lock.

    The system releases the lock when the last of them closes the file or ends, in whatever way. On a system without
    such locks, the file is used unlocked; if only the file system lacks them, there is a warning.

    Returns:
        ``False`` if another process holds the lock.

    Raises:
        OSError: locking failed in another way; the message has the path and the reason.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise OSError(f"{file.name} cannot be locked: {error.strerror or error}") from error
            warnings.warn(
                f"the file system of {file.name} has no locks ({error.strerror}). A second command that writes the "
                "same files cannot be detected, so start only one at a time",
                stacklevel=2,
            )
    return True


@contextmanager
def held(lock: Path, refusal: str) -> Iterator[None]:
    """Holds the lock file ``lock``, created if it does not exist, until the block or the process ends.

    Raises:
        ValueError: another process holds it; ``refusal`` is the message.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        if not taken(file):
            raise ValueError(refusal)
        yield


def replace_directory(aside: Path, path: Path) -> None:
    """Flushes the directory ``aside`` and its contents to disk, then replaces ``path`` with it."""
    _flush_directory(aside)
    if path.exists():
        shutil.rmtree(path)
    aside.replace(path)
    fsync_directory(path.parent)


def place_directory(aside: Path, path: Path) -> None:
    """Flushes the directory ``aside`` and its contents to disk, then gives it the name ``path``.

    Raises:
        OSError: ``path`` exists and is not an empty directory.
    """
    _flush_directory(aside)
    aside.rename(path)
    fsync_directory(path.parent)


def _flush_directory(directory: Path) -> None:
    for file in sorted(directory.rglob("*")):
        (fsync_directory if file.is_dir() else fsync_file)(file)
    fsync_directory(directory)


def made_directory(path: Path) -> bool:
    """Creates the directory. Returns ``False`` if it exists, also if another process created it at the same moment."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def is_aside(path: Path) -> bool:
    """Whether ``path`` is a temporary file that a kill left behind in :func:`write_aside`."""
    return path.name.startswith(".") and path.name.endswith(".aside")


def append_line(path: Path, line: bytes) -> None:
    """Appends ``line``, which ends in a newline, and flushes it to disk. An incomplete last line is removed first."""
    new = not path.exists()
    with writing(path), path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if new:
        fsync_directory(path.parent)


def read_lines(path: Path) -> list[str]:
    """The complete lines of a file of JSON objects; none if it does not exist.

    Text after the last newline is incomplete because of a kill, and is left out.

    Raises:
        ValueError: a line that is not UTF-8, by path and number; an end that is no beginning of an object.
    """
    if not path.exists():
        return []
    try:
        *whole, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    if torn and not torn.startswith(b"{"):
        raise ValueError(f"{path}:{len(whole) + 1}: expected a JSON object; got {shown(torn)}")
    lines = []
    for number, line in enumerate(whole, start=1):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{number} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    return lines


def fsync_file(path: Path) -> None:
    """Flushes a written file to disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def fsync_directory(path: Path) -> None:
    """Flushes the entries of a directory to disk, on systems that support it."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_line(values: Mapping[str, Any], name: str) -> bytes:
    r"""Encodes plain values as one line of JSON.

    Raises:
        ValueError: a value is not a finite number, a string, a boolean or ``None``.

    Example:
        >>> json_line({"step": 1, "reward": 0.5}, "metrics")
        b'{"step": 1, "reward": 0.5}\n'
    """
    for key, value in values.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(value, str | int | float | bool | None) or not finite:
            raise ValueError(f"{name}[{key!r}] must be a finite number, a string, a boolean or None; got {value!r}")
    return (json.dumps(values, allow_nan=False) + "\n").encode()


def environment() -> dict[str, Any]:
    """The environment of this process: ``python``, ``platform``, package versions, and the folder's git revision."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"python": platform.python_version(), "platform": platform.platform(), **versions, "git": _git()}


def _git() -> dict[str, Any] | None:
    """Git revision of the current directory, and whether it has changes; ``None`` outside a repository."""
    outputs = []
    for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            result = subprocess.run(["git", *command], capture_output=True, text=True, check=False, timeout=30)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        if result.returncode:
            return None
        outputs.append(result.stdout.strip())
    return {"revision": outputs[0], "changed": bool(outputs[1])}
