"""Holding SIGINT back for a moment.

A KeyboardInterrupt between a system call and the note of its result would lose count of the bytes on a connection.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["Deferred"]


class Deferred:
    """Context manager: on the main thread, a SIGINT that comes inside is handled when the block ends.

    Not reentrant, and of use once. On other threads, which get no signals, it does nothing.
    """

    __slots__ = ("_came", "_frame", "_old")

    def __init__(self) -> None:
        self._came = False
        self._old: Any = None
        self._frame: FrameType | None = None

    def _note(self, _: int, frame: FrameType | None) -> None:
        self._came, self._frame = True, frame

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            old = signal.getsignal(signal.SIGINT)
            if callable(old):
                self._old = old
                signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            signal.signal(signal.SIGINT, self._old)
            if self._came:
                self._old(signal.SIGINT, self._frame)
