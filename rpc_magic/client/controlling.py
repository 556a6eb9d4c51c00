"""The client's end of the control connection: what the supervisor knows, and what it is told to do."""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from rpc_magic.client.interrupts import Deferred
from rpc_magic.errors import ConnectError, ConnectionLostError, ProtocolError
from rpc_magic.settings import CONTROL_LIMITS
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import control

__all__ = ["ControlLink"]

_UNASKED = 64
"""Answers that may lie here while nobody has asked: one that came too late is no fault, a flood is."""

T = TypeVar("T", bound=control.Control)


class ControlLink:
    """A proved control connection.

    Args:
        sock: the connection.
        url: the server's, for messages.
        io: the thread that reads it.
        on_event: takes what the supervisor says unasked, on the I/O thread.
        on_lost: called once on the I/O thread when the connection is gone.
        on_heard: called there whenever something has come.
    """

    def __init__(
        self,
        sock: socket.socket,
        url: str,
        io: IoThread,
        on_event: Callable[[control.ToClient], None],
        on_lost: Callable[[], None],
        on_heard: Callable[[], None],
    ) -> None:
        self._frames = FrameSocket(sock, CONTROL_LIMITS)
        self._url, self._io, self._on_event, self._on_lost = url, io, on_event, on_lost
        self._on_heard = on_heard
        self._answers: queue.SimpleQueue[control.ToClient | None] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._pings = itertools.count(1)
        self._sent_at: dict[int, float] = {}
        self._pongs: dict[int, queue.SimpleQueue[control.Pong | None]] = {}
        self._is_gone = False
        self.round_trip = 0.0
        io.watch(self)

    @property
    def is_gone(self) -> bool:
        """True once the connection has ended."""
        return self._is_gone

    def ask(self, request: control.Control | None, kind: type[T], timeout: float) -> T | control.NotAttached:
        """Send a request, if there is one, and wait for an answer of this kind.

        Raises:
            ConnectionLostError: the connection ended first.
            ConnectError: no answer came in time.
        """
        with self._asking:
            if self._is_gone:
                raise ConnectionLostError(self._url)
            if request is not None:
                self.say(request)
            deadline = time.monotonic() + timeout
            while True:
                try:
                    answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    raise ConnectError(
                        self._url, f"the server did not answer within {timeout:.3g} s"
                    ) from None
                if answer is None:
                    raise ConnectionLostError(self._url, "the server closed it")
                if isinstance(answer, (kind, control.NotAttached)):
                    return answer

    def welcome(self, timeout: float) -> control.Welcome:
        """Wait for the server's greeting."""
        answer = self.ask(None, control.Welcome, timeout)
        assert isinstance(answer, control.Welcome)
        return answer

    def ping(self, *, machine: bool = False) -> int:
        """Ask for a `Pong`, which comes as an event, and how the machine is; return its number."""
        number = next(self._pings)
        self._sent_at[number] = time.monotonic()
        self.say(control.Ping(number, machine))
        return number

    def ask_pong(self, timeout: float) -> control.Pong | None:
        """Ask how the session is; None when no answer comes in time, or the connection is gone."""
        number = next(self._pings)
        answer = self._pongs[number] = queue.SimpleQueue()
        self._sent_at[number] = time.monotonic()
        try:
            if self._is_gone:
                return None
            self.say(control.Ping(number))
            return answer.get(timeout=timeout)
        except queue.Empty:
            return None
        finally:
            self._pongs.pop(number, None)

    def say(self, message: control.Control) -> None:
        """Send a message that has no answer; nothing happens when the connection is gone."""
        with Deferred(), contextlib.suppress(OSError):
            if not self._frames.send(0, control.encode(message)):
                self._io.watch_writing(self)

    # ------------------------------------------------------------ the I/O thread

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._frames.fileno()

    def readable(self) -> None:
        """Read, and sort what came into answers and events."""
        try:
            frames = self._frames.read()
            self._on_heard()
            for frame in frames:
                self._hear(control.decode_to_client(frame.message))
        except (EOFError, OSError, ProtocolError):
            self._lose()

    def _hear(self, message: control.ToClient) -> None:
        if isinstance(message, control.Pong):
            sent = self._sent_at.pop(message.number, None)
            if sent is not None:
                self.round_trip = time.monotonic() - sent
            asked = self._pongs.get(message.number)
            if asked is not None:
                asked.put(message)
        if isinstance(message, (control.Welcome, control.Attached, control.NotAttached, control.Sessions)):
            if self._answers.qsize() >= _UNASKED:
                raise ProtocolError("answers that nobody asked for")
            self._answers.put(message)
        else:
            self._on_event(message)

    def writable(self) -> bool:
        """Send what waits; True when nothing waits any more."""
        try:
            return self._frames.flush()
        except OSError:
            self._lose()
            return True

    def cut(self) -> None:
        """I/O thread: nothing has come for too long: take the connection for gone."""
        self._lose()

    def _lose(self) -> None:
        if self._is_gone:
            return
        self._is_gone = True
        self._answers.put(None)
        for asked in list(self._pongs.values()):
            asked.put(None)
        self._io.forget(self, self._frames.close)
        self._on_lost()

    def close(self) -> None:
        """Close the connection; any thread."""
        self._is_gone = True
        self._io.forget(self, self._frames.close)
