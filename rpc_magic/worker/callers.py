"""The clients that call a program's functions by name, and the connections that carry what they say."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Sequence

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.replies import Replies

__all__ = ["Caller", "Callers"]

Take = Callable[["Caller", int, messages.Request, list[memoryview]], None]


class _Connection:
    """One connection of a caller; a channel of the I/O thread."""

    def __init__(self, caller: Caller, frames: FrameSocket) -> None:
        self._caller, self._frames = caller, frames

    def fileno(self) -> int:
        return self._frames.fileno()

    def readable(self) -> None:
        self._caller.read(self)

    def writable(self) -> bool:
        try:
            return self._frames.flush()
        except OSError:
            self._caller.lose(self)
            return True


class Caller:
    """One client; made by `Callers`. It stays the same when its connection is cut and it comes back on another one.

    Attributes:
        replies: what it is answered.
    """

    def __init__(self, client: bytes, callers: Callers) -> None:
        self._callers = callers
        self.replies = Replies(client, callers.limits)
        self._connection: _Connection | None = None

    def adopt(self, sock: socket.socket, resume: int) -> None:
        """I/O thread: speak on this connection from now on."""
        self.close()
        frames = self.replies.adopt(sock, resume)
        self._connection = _Connection(self, frames)
        self._callers.io.watch(self._connection)
        if frames.has_unsent:
            self._callers.io.watch_writing(self._connection)

    def read(self, connection: _Connection) -> None:
        """I/O thread: take what has come on the connection."""
        try:
            for frame in self.replies.read() if connection is self._connection else ():
                request = messages.decode_request(frame.message)
                if isinstance(request, messages.Leave):
                    self._callers.forget(self)
                    return
                self._callers.take(self, frame.call, request, frame.buffers)
        except (EOFError, OSError):
            self.lose(connection)
        except ProtocolError:
            self._callers.forget(self)  # nobody may go on where it was
            self._callers.on_broken()

    def lose(self, connection: _Connection) -> None:
        """I/O thread: the connection is gone; the client may come back on another one."""
        if connection is self._connection:
            self.close()

    def close(self) -> None:
        """Close the connection; any thread."""
        connection, self._connection = self._connection, None
        frames = self.replies.lose()
        if connection is not None and frames is not None:
            self._callers.io.forget(connection, frames.close)

    def close_now(self) -> None:
        """Close the connection when the I/O thread has ended."""
        frames = self.replies.lose()
        if frames is not None:
            frames.close()

    def answer(self, call: int, outcome: messages.Outcome, buffers: Sequence[Buffer] = ()) -> None:
        """Send an outcome, now or when the client is back; any thread."""
        connection = self._connection
        if not self.replies.send(call, outcome, buffers) and connection is not None:
            self._callers.io.watch_writing(connection)


class Callers:
    """All clients of a program. What changes it runs on the I/O thread.

    Args:
        io: that thread.
        take: takes their requests.
        settings: limits and times.

    Attributes:
        on_broken: called when a connection was closed because it broke the protocol.
    """

    def __init__(self, io: IoThread, take: Take, settings: WorkerSettings) -> None:
        self.io, self.take, self._seconds = io, take, settings.return_seconds
        self.limits = WireLimits(payload=settings.message)
        self._callers: dict[bytes, Caller] = {}
        self.on_broken: Callable[[], None] = lambda: None
        io.every(max(0.1, self._seconds / 10), self._sweep)

    def adopt(self, sock: socket.socket, client: bytes, resume: int) -> None:
        """Serve a connection of this client."""
        caller = self._callers.get(client)
        if caller is None or not resume:
            if caller is not None:
                self.forget(caller)
            caller = self._callers[client] = Caller(client, self)
        caller.adopt(sock, resume)

    def settle(self) -> None:
        """Before a function runs: let no answer that is kept refer to what it may change. Any thread."""
        for caller in list(self._callers.values()):
            caller.replies.settle()

    def forget(self, caller: Caller) -> None:
        """A client has gone for good."""
        caller.close()
        if self._callers.get(caller.replies.client) is caller:
            del self._callers[caller.replies.client]

    def flush(self) -> None:
        """Send what waits for those that are there, however long they take to read it."""
        for caller in list(self._callers.values()):
            channel = caller.replies.channel
            if channel is not None:
                with contextlib.suppress(OSError):
                    channel.flush_all()

    def close(self, but: Sequence[Caller]) -> None:
        """Close the connections, but those of some callers, who still get an answer; any thread."""
        for caller in list(self._callers.values()):
            if caller not in but:
                caller.close()

    def _sweep(self) -> None:
        now = time.monotonic()
        for caller in list(self._callers.values()):
            if caller.replies.channel is None and now - caller.replies.lost_at > self._seconds:
                self.forget(caller)
