"""An I/O thread: it reads from channels, and sends what a channel could not send at once.

A client has one for each connection, a program that exposes functions has one. User code never runs on it, except
for the callbacks of a `Call` and the loading of its value.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Channel", "IoThread"]


class Channel(Protocol):
    """What the thread watches. All but `fileno` are called on it."""

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""

    def readable(self) -> None:
        """Something has come, or the connection is gone."""

    def writable(self) -> bool:
        """Send what waits; True when nothing waits any more."""


class IoThread:
    """The thread; a daemon, started by the first channel."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._jobs: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self.pid = os.getpid()

    @property
    def is_current(self) -> bool:
        """True on the thread itself."""
        return threading.current_thread() is self._thread

    def do(self, job: Callable[[], None]) -> None:
        """Have `job` done on the thread, soon; from any thread."""
        self._jobs.append(job)
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_write.send(b"\0")

    def watch(self, channel: Channel) -> None:
        """Read from `channel` from now on; from any thread."""
        self.do(lambda: self._register(channel, selectors.EVENT_READ))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rpc_magic-io", daemon=True)
            self._thread.start()

    def watch_writing(self, channel: Channel) -> None:
        """Send what waits in `channel` as soon as it goes; from any thread."""
        self.do(lambda: self._register(channel, selectors.EVENT_READ | selectors.EVENT_WRITE))

    def forget(self, channel: Channel, then: Callable[[], None]) -> None:
        """Stop watching `channel`, then call `then`; from any thread."""

        def job() -> None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(channel)
            then()

        self.do(job)

    def end(self) -> None:
        """End the thread once the jobs that wait are done; from any thread."""
        self._is_ending = True
        self.do(lambda: None)
        if self._thread is None:
            self._close()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, at most `timeout` seconds."""
        if self._thread is not None and not self.is_current:
            self._thread.join(timeout)

    def _register(self, channel: Channel, events: int) -> None:
        if channel.fileno() < 0:
            return
        try:
            self._selector.modify(channel, events, channel)
        except KeyError:
            self._selector.register(channel, events, channel)

    def _run(self) -> None:
        selector, jobs = self._selector, self._jobs
        while True:
            for key, events in selector.select():
                channel = key.data
                if channel is None:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_read.recv(4096)
                    continue
                if events & selectors.EVENT_READ:
                    channel.readable()
                if events & selectors.EVENT_WRITE and channel.fileno() >= 0 and channel.writable():
                    self._register(channel, selectors.EVENT_READ)
            while jobs:
                jobs.popleft()()
            if self._is_ending and not jobs:
                self._close()
                return

    def _close(self) -> None:
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()
