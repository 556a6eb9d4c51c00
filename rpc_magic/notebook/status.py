"""How a server is: a plain model, which a widget or a line of text shows.

While somebody watches, a small thread asks the supervisor how the session is. The supervisor answers even while the
session is deep in C code, so what is shown is true.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rpc_magic.client import Connection
from rpc_magic.client.waiting import GRACE
from rpc_magic.settings import ClientSettings

__all__ = ["Snapshot", "Status"]

_ALIVE = frozenset({"connected", "busy", "stopping"})
"""States in which there is something to ask."""
_LEAST_SECONDS = 0.5
"""Watchers are told at most twice a second: people see no more, and a page takes no more."""


@dataclass(frozen=True)
class Snapshot:
    """How a server was at one moment.

    Attributes:
        word: "connected", "busy", "stopping", "lost", "died" or "closed".
        name, url, session: of the server, and its session's name.
        round_trip: seconds of the last ping; 0 before there was one.
        busy_seconds: for how long the running call has run; 0 when none runs.
        memory: resident bytes of the session's process; 0 when unknown.
        stopping_seconds: how long ago the running call was interrupted; 0 when it was not.
    """

    word: str
    name: str
    url: str
    session: str
    round_trip: float = 0.0
    busy_seconds: float = 0.0
    memory: int = 0
    stopping_seconds: float = 0.0

    @property
    def is_deaf(self) -> bool:
        """What runs was interrupted, and has not ended within the time that it has for that."""
        return self.word == "stopping" and self.stopping_seconds >= GRACE

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.word}", self.url]
        if self.word == "busy":
            parts[0] += f" for {self.busy_seconds:.0f} s"
        elif self.word == "stopping":
            parts[0] += f" for {self.stopping_seconds:.0f} s"
            if self.is_deaf:
                parts[0] += " (the code does not react; Stop again ends the session, its variables are lost)"
        elif self.word == "died":
            parts[0] += " (its variables are gone; %rpc_restart gives a new session)"
        elif self.word == "lost":
            parts[0] += " (run %rpc_connect again)"
        if self.session:
            parts.append(f"session {self.session}")
        if self.round_trip and self.word in _ALIVE:
            parts.append(f"{self.round_trip * 1000:.1f} ms")
        return ", ".join(parts)


class Status:
    """The status of one connection; thread-safe.

    Args:
        name: what the user calls the server.
        connection: the connection.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self._connection = connection
        self._watchers: list[Callable[[Snapshot], None]] = []
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ended = threading.Event()
        connection.attachment.on_change = self._changed.set

    def now(self) -> Snapshot:
        """Return what is known without asking."""
        attachment = self._connection.attachment
        pong = attachment.pong
        word = {"attached": "connected"}.get(attachment.state, attachment.state)
        busy = stopping = 0.0
        if word == "connected" and pong is not None and pong.state == "busy":
            word, busy, stopping = "busy", pong.busy_seconds, pong.stopping_seconds
            if stopping:
                word = "stopping"
        return Snapshot(
            word=word,
            name=self.name,
            url=attachment.welcome.url,
            session=attachment.session,
            round_trip=attachment.control.round_trip,
            busy_seconds=busy,
            memory=pong.memory if pong is not None else 0,
            stopping_seconds=stopping,
        )

    def ask(self, timeout: float = 2.0) -> Snapshot:
        """Ask the supervisor, and return how it is; what does not answer within `timeout` seconds is lost."""
        attachment = self._connection.attachment
        answer = attachment.control.ask_pong(timeout) if attachment.state == "attached" else None
        snapshot = self.now()
        if answer is None and snapshot.word in _ALIVE:
            return Snapshot("lost", snapshot.name, snapshot.url, snapshot.session)
        return snapshot

    def stop(self) -> Snapshot:
        """Interrupt what runs; when that was done before and it is deaf, end the session.

        Returns:
            How it was before: its `is_deaf` tells which of the two was done.
        """
        snapshot = self.ask()
        if not snapshot.is_deaf:
            self._connection.interrupt()
        elif self._connection.attachment.end_session("it was stopped, and its code did not listen"):
            self._changed.set()
        return snapshot

    def watch(self, watcher: Callable[[Snapshot], None]) -> None:
        """Have `watcher` called with each change, on the model's own thread."""
        with self._lock:
            self._watchers.append(watcher)
            if self._thread is None and not self._is_ended.is_set():
                self._thread = threading.Thread(target=self._run, name="rpc_magic-status", daemon=True)
                self._thread.start()

    def unwatch(self, watcher: Callable[[Snapshot], None]) -> None:
        """Call `watcher` no more; the thread ends with the last one."""
        with self._lock:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
            if not self._watchers:
                self._changed.set()

    def end(self) -> None:
        """Tell watchers the last state and stop."""
        self._is_ended.set()
        self._changed.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def _run(self) -> None:
        last: Snapshot | None = None
        asked = 0.0
        while True:
            with self._lock:
                watchers = list(self._watchers)
                if not watchers:
                    self._thread = None
                    return
            self._changed.clear()
            snapshot = self.now()
            if snapshot != last:
                for watcher in watchers:
                    with contextlib.suppress(Exception):
                        watcher(snapshot)
                last = snapshot
            if self._is_ended.is_set() or snapshot.word == "closed":
                return
            every = ClientSettings().ping_seconds
            if time.monotonic() - asked >= every and snapshot.word in _ALIVE:
                asked = time.monotonic()
                self._connection.attachment.control.ping()
            self._is_ended.wait(_LEAST_SECONDS)
            is_alive = snapshot.word in _ALIVE
            self._changed.wait(max(0.0, asked + every - time.monotonic()) if is_alive else every)
