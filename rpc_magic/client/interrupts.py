"""Holding SIGINT back for a moment.

A KeyboardInterrupt between a system call and the note of its result would lose count of the bytes on a connection.
This is on the path of every call, so it goes to the C functions: `signal.signal` makes two enum members each time,
which costs more than the rest of the block.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has none
import os
import threading
from signal import SIGINT
from types import FrameType
from typing import Any

__all__ = ["Deferred"]

_NUMBER = int(SIGINT)
_get, _set = _signal.getsignal, _signal.signal
_main = threading.main_thread().ident


def _note_main() -> None:
    """After a fork the thread that forked is the main one."""
    global _main
    _main = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_main)


class Deferred:
    """Context manager: on the main thread, a SIGINT that comes inside is handled when the block ends.

    Not reentrant, and of use once. On other threads, which get no signals, it does nothing.
    """

    __slots__ = ("_came", "_frame", "_old")

    def _note(self, _: int, frame: FrameType | None) -> None:
        self._came, self._frame = True, frame

    def __enter__(self) -> None:
        self._old: Any = None
        self._came = False
        if threading.get_ident() == _main:
            old = _get(_NUMBER)
            if callable(old):
                self._old = old
                _set(_NUMBER, self._note)

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            _set(_NUMBER, self._old)
            if self._came:
                self._old(_NUMBER, self._frame)
