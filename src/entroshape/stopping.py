"""Stopping a command by a signal: Ctrl-C and SIGTERM unwind it alike, so that what it holds is let go."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM in here raises :class:`Terminated`, as Ctrl-C raises ``KeyboardInterrupt``."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_status(stop: KeyboardInterrupt) -> int:
    """What a shell calls the end by this signal.

    Example:
        >>> exit_status(KeyboardInterrupt()), exit_status(Terminated())
        (130, 143)
    """
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def close_process_group() -> None:
    """Closes torch's process group, if there is one: left to the interpreter's exit, its threads now and then abort."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated
