"""How a server is: a plain model, which a widget or a line of text shows.

While somebody watches, a small thread tells what changes. It asks the supervisor, which answers even while the session
is deep in C code, so what is shown is true. It asks only while something goes on: a cell runs here, a call runs there,
or somebody reads the details. Otherwise it sleeps until the connection says that something has changed.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rpc_magic.client import Connection
from rpc_magic.client.waiting import GRACE
from rpc_magic.runtime.addresses import short_url
from rpc_magic.settings import ClientSettings
from rpc_magic.wire import control

__all__ = ["ALIVE", "Facts", "Snapshot", "Status"]

ALIVE = frozenset({"connected", "busy", "stopping"})
"""States in which there is something to ask."""
_LEAST_SECONDS = 0.5
"""Watchers are told at most twice a second: people see no more, and a page takes no more."""
_REMEMBERED = 60
"""Round trips that are remembered."""


@dataclass(frozen=True)
class Snapshot:
    """How a server was at one moment.

    Attributes:
        word: "connected", "busy", "stopping", "reconnecting", "lost", "died" or "closed".
        name, url, session: of the server, and its session's name.
        round_trip: seconds, the middle one of the last pings; 0 before there was one.
        busy_seconds: for how long the running call has run; 0 when none runs.
        memory: resident bytes of the session's process; 0 when unknown.
        stopping_seconds: how long ago the running call was interrupted; 0 when it was not.
        call: number of the running call; 0 when none runs.
        is_blocked: a cell of this notebook runs, so that its kernel hears nothing.
        changes: counts what may have changed the variables or the list of calls.
        attempt: number of the attempt to reconnect that runs, or is next; 0 for none.
        next_seconds: until that begins; 0 when it runs.
    """

    word: str
    name: str
    url: str
    session: str
    round_trip: float = 0.0
    busy_seconds: float = 0.0
    memory: int = 0
    stopping_seconds: float = 0.0
    call: int = 0
    is_blocked: bool = False
    changes: int = 0
    attempt: int = 0
    next_seconds: float = 0.0

    @property
    def is_deaf(self) -> bool:
        """What runs was interrupted, and has not ended within the time that it has for that."""
        return self.word == "stopping" and self.stopping_seconds >= GRACE

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.word}", short_url(self.url)]
        if self.word == "busy":
            parts[0] += f" for {self.busy_seconds:.0f} s"
        elif self.word == "stopping":
            parts[0] += f" for {self.stopping_seconds:.0f} s"
            if self.is_deaf:
                parts[0] += " (the code does not react; Stop again ends the session, its variables are lost)"
        elif self.word == "reconnecting":
            when = f" in {self.next_seconds:.0f} s" if self.next_seconds >= 1 else ""
            parts[0] += f" (attempt {self.attempt}{when}; nothing is lost)"
        elif self.word == "died":
            parts[0] += " (its variables are gone; %rpc_restart gives a new session)"
        elif self.word == "lost":
            parts[0] += " (run %rpc_connect again)"
        if self.session:
            parts.append(f"session {self.session}")
        if self.round_trip and self.word in ALIVE:
            parts.append(f"{self.round_trip * 1000:.1f} ms")
        return ", ".join(parts)


@dataclass(frozen=True)
class Facts:
    """What else is known of a server.

    Attributes:
        welcome: its greeting: host, user, versions.
        worker_pid: process of the session; 0 for none.
        sent, received, saved: bytes; those saved were not sent because the session had them.
        cpu: percent of one processor that the session used between the last two answers.
        memory: resident bytes of the session.
        machine: how the machine is; None before it was told.
        round_trips: seconds of the last pings, the latest last.
    """

    welcome: control.Welcome
    worker_pid: int
    sent: int
    received: int
    saved: int
    cpu: float
    memory: int
    machine: control.Machine | None
    round_trips: tuple[float, ...]


class Status:
    """The status of one connection; thread-safe.

    Args:
        name: what the user calls the server.
        connection: the connection.

    Attributes:
        wants_facts: somebody reads the details, so they are kept fresh.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self.name = name
        self._connection = connection
        self._watchers: list[Callable[[Snapshot], None]] = []
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ended = threading.Event()
        self._cell_began = 0.0
        self._is_due = False
        self._changes = 0
        self._round_trips: deque[float] = deque(maxlen=_REMEMBERED)
        self._used = (0.0, 0.0)  # processor time of the session, and when it was told
        self._cpu = 0.0
        self._machine: control.Machine | None = None
        self._heard: control.Pong | None = None
        self.wants_facts: Callable[[], bool] = lambda: False
        connection.attachment.on_change = self.wake

    # ------------------------------------------------------------ what goes on here

    def wake(self) -> None:
        """The connection may have changed; any thread."""
        self._changed.set()

    def touch(self) -> None:
        """Variables or calls may have changed; any thread."""
        self._changes += 1
        self._changed.set()

    def cell_begins(self) -> None:
        """A cell of this notebook begins: its kernel hears nothing until its end."""
        self._cell_began = time.monotonic()
        self._changed.set()

    def cell_ends(self) -> None:
        """It has ended; what it left running is asked for."""
        self._cell_began, self._is_due = 0.0, True
        self.touch()

    # ------------------------------------------------------------ what is known

    def now(self) -> Snapshot:
        """Return what is known without asking."""
        attachment = self._connection.attachment
        pong, retry = attachment.pong, attachment.retry
        self._note(pong)
        word = {"attached": "connected"}.get(attachment.state, attachment.state)
        busy, stopping, call = 0.0, 0.0, 0
        if word == "connected" and pong is not None and pong.state == "busy":
            word, busy, stopping, call = "busy", pong.busy_seconds, pong.stopping_seconds, pong.call
            if stopping:
                word = "stopping"
        began = self._cell_began
        return Snapshot(
            word=word,
            name=self.name,
            url=attachment.url,
            session=attachment.session,
            round_trip=statistics.median(self._round_trips) if self._round_trips else 0.0,
            busy_seconds=busy,
            memory=pong.memory if pong is not None else 0,
            stopping_seconds=stopping,
            call=call,
            is_blocked=bool(began) and time.monotonic() - began >= _LEAST_SECONDS / 2,
            changes=self._changes,
            attempt=retry.attempt if retry is not None else 0,
            next_seconds=max(0.0, round(retry.at - time.monotonic(), 1)) if retry is not None else 0.0,
        )

    def _note(self, pong: control.Pong | None) -> None:
        """Take down what an answer says."""
        with self._lock:
            if pong is None or pong is self._heard:
                return
            self._heard = pong
            self._round_trips.append(self._connection.attachment.control.round_trip)
            used, told = self._used
            now = time.monotonic()
            if told and pong.cpu_seconds >= used and now - told >= _LEAST_SECONDS:
                self._cpu = 100 * (pong.cpu_seconds - used) / (now - told)
            self._used = (pong.cpu_seconds, now)
            self._machine = pong.machine or self._machine

    def facts(self) -> Facts:
        """Return what else is known, without asking."""
        attachment = self._connection.attachment
        sent, received = attachment.links.traffic
        pong = attachment.pong
        return Facts(
            welcome=attachment.welcome,
            worker_pid=attachment.worker_pid,
            sent=sent,
            received=received,
            saved=attachment.links.bytes_saved,
            cpu=self._cpu,
            memory=pong.memory if pong is not None else 0,
            machine=self._machine,
            round_trips=tuple(self._round_trips),
        )

    def ask(self, timeout: float = 2.0) -> Snapshot:
        """Ask the supervisor, and return how it is; what does not answer within `timeout` seconds is lost."""
        attachment = self._connection.attachment
        answer = attachment.control.ask_pong(timeout) if attachment.state == "attached" else None
        snapshot = self.now()
        if answer is None and snapshot.word in ALIVE:
            return Snapshot("lost", snapshot.name, snapshot.url, snapshot.session)
        return snapshot

    def stop(self, call: int = 0) -> Snapshot:
        """Interrupt what runs; when that was done before and it is deaf, end the session. Any thread.

        Args:
            call: the number of the call that is meant: when another runs by now, nothing is done. 0: whatever runs.

        Returns:
            How it was before: its `is_deaf` tells which of the two was done.
        """
        snapshot = self.ask()
        if call and snapshot.call != call:
            return snapshot
        attachment = self._connection.attachment
        if not snapshot.is_deaf:
            attachment.control.say(control.Interrupt(call))
        elif attachment.end_session("it was stopped, and its code did not listen"):
            self._changed.set()
        self._is_due = True
        self.wake()
        return snapshot

    # ------------------------------------------------------------ watching

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
            wants = self._wants()
            every = self._interval(wants=wants)
            if every and time.monotonic() - asked >= every:
                asked = time.monotonic()
                self._is_due = False
                self._connection.attachment.control.ping(machine=wants)  # its answer wakes this thread
            snapshot = self.now()
            if snapshot != last or wants:
                for watcher in watchers:
                    with contextlib.suppress(Exception):
                        watcher(snapshot)
                last = snapshot
            if self._is_ended.is_set() or snapshot.word == "closed":
                return
            self._is_ended.wait(_LEAST_SECONDS)
            every = self._interval(wants=wants)
            pause = max(0.0, asked + every - time.monotonic()) if every else None
            if snapshot.word == "reconnecting":  # its countdown goes on
                pause = _LEAST_SECONDS
            if not self._is_ended.is_set():
                self._changed.wait(pause)

    def _interval(self, *, wants: bool) -> float:
        """Return the seconds between two questions; 0 while nothing goes on."""
        pong, began = self._connection.attachment.pong, self._cell_began
        if self._connection.attachment.state != "attached":
            return 0.0
        if self._is_due:
            return _LEAST_SECONDS
        if pong is not None and pong.state == "busy":
            return 2 * _LEAST_SECONDS
        if began and time.monotonic() - began >= _LEAST_SECONDS / 2:  # a quick cell is not worth a question
            return 2 * _LEAST_SECONDS
        return ClientSettings().ping_seconds if wants else 0.0

    def _wants(self) -> bool:
        try:
            return self.wants_facts()
        except Exception:  # noqa: BLE001 - a widget that is gone wants nothing
            return False
