"""An I/O thread: it reads from channels, and sends what a channel could not send at once.

A client has one for each connection, a program that exposes functions has one. User code never runs on it, except
for the callbacks of a `Call` and the loading of its value.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rpc_magic.transport.polling import READ, WRITE, make_poller

__all__ = ["Channel", "IoThread"]


class Described(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""


class Channel(Described, Protocol):
    """What the thread watches. All but `fileno` are called on it."""

    def readable(self) -> object:
        """Something has come, or the connection is gone."""

    def writable(self) -> bool:
        """Send what waits; True when nothing waits any more."""


class IoThread:
    """The thread; a daemon, started by the first channel."""

    def __init__(self) -> None:
        self._poller = make_poller()
        self._channels: dict[int, Channel] = {}
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._poller.watch(self._wake_read.fileno(), READ)
        self._jobs: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self._beat: tuple[float, Callable[[], object]] | None = None
        self.pid = os.getpid()

    @property
    def is_current(self) -> bool:
        """True on the thread itself."""
        return self._thread is not None and threading.get_ident() == self._thread.ident

    def do(self, job: Callable[[], None]) -> None:
        """Have `job` done on the thread, soon; from any thread."""
        self._jobs.append(job)
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_write.send(b"\0")

    def watch(self, channel: Channel) -> None:
        """Read from `channel` from now on; from any thread."""

        def job() -> None:
            if channel.fileno() >= 0:
                self._channels[channel.fileno()] = channel
                self._poller.watch(channel.fileno(), READ)

        self.do(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="rpc_magic-io", daemon=True)
            self._thread.start()

    def every(self, seconds: float, action: Callable[[], object]) -> None:
        """Call `action` on the thread about every `seconds`; from any thread. There is one such action."""

        def job() -> None:
            self._beat = seconds, action

        self.do(job)

    def watch_writing(self, channel: Channel) -> None:
        """Send what waits in `channel` as soon as it goes; from any thread."""
        self.do(lambda: self._poller.watch(channel.fileno(), READ | WRITE))

    def pause(self, channel: Channel) -> bool:
        """Leave `channel` to the calling thread, which reads it until `resume`; False when that cannot be done."""
        if not self._poller.can_pause or channel.fileno() not in self._channels or self.is_current:
            return False
        self._poller.watch(channel.fileno(), 0)
        return True

    def resume(self, channel: Channel, *, has_unsent: bool) -> None:
        """Watch `channel` again, for writing too when something waits to be sent."""
        if channel.fileno() in self._channels:
            self._poller.watch(channel.fileno(), READ | WRITE if has_unsent else READ)

    def hold(self, channel: Channel, is_due: Callable[[], bool]) -> None:
        """Read nothing from `channel` until `release`, if that `is_due` when it is the thread's turn; from any thread.

        Sending much on it ends that as well.
        """

        def job() -> None:
            if is_due() and self._channels.get(channel.fileno()) is channel:
                self._poller.drop(channel.fileno())

        self.do(job)

    def release(self, channel: Channel, *, has_unsent: bool) -> None:
        """Read from `channel` again; from any thread."""
        self.do(lambda: self.resume(channel, has_unsent=has_unsent))

    def forget(self, of: Described, then: Callable[[], None]) -> None:
        """Stop watching what has this descriptor when it is its turn, then call `then`; from any thread."""

        def job() -> None:
            self._channels.pop(of.fileno(), None)
            self._poller.drop(of.fileno())
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

    def _run(self) -> None:
        wait, jobs, channels = self._poller.wait, self._jobs, self._channels
        wake = self._wake_read.fileno()
        beaten = time.monotonic()
        while True:
            for descriptor, events in wait(self._beat[0] if self._beat else None):
                if descriptor == wake:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_read.recv(4096)
                    continue
                channel = channels.get(descriptor)
                if channel is None:
                    self._poller.drop(descriptor)
                    continue
                if events & READ:
                    channel.readable()
                if events & WRITE and channel.fileno() == descriptor and channel.writable():
                    self._poller.watch(descriptor, READ)
            while jobs:
                jobs.popleft()()
            if self._beat is not None and time.monotonic() - beaten >= self._beat[0]:
                beaten = time.monotonic()
                self._beat[1]()
            if self._is_ending and not jobs:
                self._close()
                return

    def _close(self) -> None:
        self._poller.close()
        self._wake_read.close()
        self._wake_write.close()
