"""Reading on the thread that waits, for a moment.

A small call is over in less time than it takes to wake a thread twice: once the I/O thread, which reads, once the
caller, who waits. So a caller that is alone with its call reads for itself for some milliseconds, with the I/O
thread held off (`IoThread.pause`) and SIGINT held back. While calls come back within microseconds it even looks
several times before it sleeps, because going to sleep and being woken costs more than such a call; a call that
took longer ends that until one is quick again.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Leader"]

_LEAD_MS = 5
"""Milliseconds for which a caller reads for itself; then the I/O thread does, so that Ctrl-C is heard."""
_QUICK = 300e-6
"""Seconds within which a call is over that is worth looking for without sleeping."""
_LOOKS = 200
"""How often it is looked, some hundred microseconds in all: looking for less than a call takes is for nothing."""


class _Waiting(Protocol):
    @property
    def has_events(self) -> bool: ...


class Leader:
    """Waits for a connection on the calling thread; one thread at a time.

    Args:
        sock: the connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._poll: Callable[[int], object] | None = None
        if hasattr(select, "poll"):
            poller = select.poll()
            poller.register(sock, select.POLLIN)
            self._poll = poller.poll
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._may_look = processors > 1
        self._is_quick = self._may_look

    def wait(self, listener: _Waiting, read: Callable[[], bool]) -> None:
        """Call `read` whenever something has come, until something was for `listener` or the moment is over.

        `read` returns False when there is nothing more to read.
        """
        poll = self._poll
        if poll is None:
            return
        began = time.perf_counter()
        if self._is_quick:
            for _ in range(_LOOKS):
                if poll(0) and (not read() or listener.has_events):
                    return
        while not listener.has_events:
            if not poll(_LEAD_MS) or not read():
                break
        self._is_quick = self._may_look and time.perf_counter() - began < _QUICK
