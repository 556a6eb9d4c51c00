"""Coming back after a cut, on a thread of its own: at once, then after growing pauses with jitter.

A pause ends early when the machine's network changes, where the system tells (Linux: rtnetlink). An attempt that has
succeeded ends the growth; what it has connected is made again at once only when it has lived for a moment, so that a
connection that breaks as soon as it is made does not make a storm.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from rpc_magic.settings import ClientSettings
from rpc_magic.transport.polling import READ, Poller, make_poller

__all__ = ["Reconnecting", "Retry", "pause_before"]

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR of rtnetlink(7)."""


class Retry(NamedTuple):
    """A connection that is being made again.

    Attributes:
        attempt: number of the attempt that runs, or is next; from 1.
        at: moment of `time.monotonic` at which it begins, or began.
    """

    attempt: int
    at: float


def pause_before(attempt: int, settings: ClientSettings, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before an attempt: none before the first, then doubling, less up to a half."""
    if attempt <= 1:
        return 0.0
    longest = min(settings.longest_pause, settings.first_pause * 2.0 ** min(attempt - 2, 30))
    return longest * (1.0 - draw() / 2)


class Reconnecting:
    """See the module's text. Thread-safe.

    Args:
        settings: its times.
        is_needed: tells whether something has still to be connected.
        attempt: tries to, and tells whether anything was connected; it raises nothing.
        on_change: called when an attempt begins, fails, or was the last.
    """

    def __init__(
        self,
        settings: ClientSettings,
        is_needed: Callable[[], bool],
        attempt: Callable[[], bool],
        on_change: Callable[[Retry | None], None],
    ) -> None:
        self._settings, self._is_needed, self._attempt = settings, is_needed, attempt
        self._on_change = on_change
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = socket.socketpair()
        self._is_ended = False
        self._failures = 0  # in a row
        self._connected_at = -float("inf")  # when an attempt last succeeded

    def start(self) -> None:
        """Something is gone: connect it again."""
        with self._lock:
            if self._thread is None and not self._is_ended:
                self._on_change(Retry(1, time.monotonic()))
                self._thread = threading.Thread(target=self._run, name="rpc_magic-reconnect", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Try no more; may be called more than once."""
        with self._lock:
            is_ended, self._is_ended = self._is_ended, True
            thread = self._thread
            if not is_ended:
                self._wake_write.send(b"\0")
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._settings.connect_seconds)
        if not is_ended:
            self._wake_read.close()
            self._wake_write.close()

    def _run(self) -> None:
        with contextlib.closing(_watch_network()) as network, contextlib.closing(make_poller()) as poller:
            poller.watch(network.fileno(), READ)
            poller.watch(self._wake_read.fileno(), READ)
            while True:
                with self._lock:
                    if self._is_ended or not self._is_needed():
                        self._thread = None
                        if not self._is_ended:
                            self._on_change(None)
                        return
                attempt = self._next_attempt()
                pause = pause_before(attempt, self._settings)
                self._on_change(Retry(attempt, time.monotonic() + pause))
                if pause and self._has_changed(network, poller, pause):
                    attempt, self._failures = 1, 0
                self._on_change(Retry(attempt, time.monotonic()))
                self._note(has_succeeded=self._attempt())

    def _next_attempt(self) -> int:
        """Return the number of the attempt that is next; one with a pause after a connection that did not live."""
        is_young = time.monotonic() - self._connected_at < self._settings.steady_seconds
        return self._failures + (2 if is_young else 1)

    def _note(self, *, has_succeeded: bool) -> None:
        if has_succeeded:
            self._failures, self._connected_at = 0, time.monotonic()
        else:
            self._failures += 1

    def _has_changed(self, network: socket.socket, poller: Poller, seconds: float) -> bool:
        """Wait; True when the network has changed meanwhile."""
        has_changed = network.fileno() in dict(poller.wait(seconds))
        with contextlib.suppress(OSError):
            while has_changed:
                network.recv(1 << 16)
        return has_changed


def _watch_network() -> socket.socket:
    """Return a socket that is readable when the machine's links or addresses have changed; else one that never is."""
    if hasattr(socket, "AF_NETLINK"):
        with contextlib.suppress(OSError):
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            sock.setblocking(False)
            try:
                sock.bind((0, _GROUPS))
            except OSError:
                sock.close()
                raise
            return sock
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
