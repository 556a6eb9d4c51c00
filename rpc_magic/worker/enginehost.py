"""Joins a session's engine connection with its engine; a thread that lives from the first such connection on.

Payloads pass through unread, except that an argument which stands for a value of the session is replaced by it.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from rpc_magic.engines.base import Task
from rpc_magic.engines.local import LocalEngine, Resolve
from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.wire import internal, messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.replies import Replies

__all__ = ["EngineHost"]

_FORK_SECONDS = 30.0
_FORKED_AT_ONCE = 64
"""One packet passes at most 253 descriptors, and machines have more processors."""


class EngineHost:
    """The session's engine and who uses it.

    Args:
        keeper: packet socket to the keeper, which makes the processes.
        resolve: fetches the values that arguments stand for.
        settings: how many tasks wait at once, and how large what they bring may be.

    Attributes:
        note_tasks: told, whenever something has happened, how many tasks have not ended.
        on_broken: called when a connection was closed because it broke the protocol.
    """

    def __init__(self, keeper: PacketSocket, resolve: Resolve, settings: WorkerSettings) -> None:
        self._keeper, self._resolve, self._limit = keeper, resolve, settings.calls
        self._limits = WireLimits(payload=settings.message)
        self._forked: queue.SimpleQueue[list[tuple[int, socket.socket]]] = queue.SimpleQueue()
        self._arrivals: queue.SimpleQueue[tuple[socket.socket, bytes, int]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = socket.socketpair()
        self._seconds = settings.return_seconds
        self._replies: Replies | None = None  # of the client that uses the engine
        self._engine: LocalEngine | None = None
        self._selector: selectors.BaseSelector | None = None
        self._seen: set[bytes] = set()  # clients
        self.on_broken: Callable[[], None] = lambda: None
        self.note_tasks: Callable[[int], None] = lambda _: None

    def adopt(self, sock: socket.socket, client: bytes, resume: int) -> None:
        """Helper thread: serve this connection of a client; it takes the place of an older one."""
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            threading.Thread(
                target=self._run, args=(self._selector,), name="rpc_magic-engine", daemon=True
            ).start()
        old = self._replies.channel if self._replies is not None else None
        if old is not None:
            old.hang_up()  # nobody must wait for it any longer
        self._arrivals.put((sock, client, resume))
        self._wake_write.send(b"\0")

    def forked(self, pids: Sequence[int], descriptors: Sequence[int]) -> None:
        """Helper thread: the keeper has made processes."""
        self._forked.put([(pid, socket.socket(fileno=fd)) for pid, fd in zip(pids, descriptors, strict=True)])

    def _make(self, count: int) -> list[tuple[int, socket.socket]]:
        made: list[tuple[int, socket.socket]] = []
        while len(made) < count:
            self._keeper.send(internal.ForkEngine(min(count - len(made), _FORKED_AT_ONCE)))
            more: list[tuple[int, socket.socket]] = []
            with contextlib.suppress(queue.Empty):
                more = self._forked.get(timeout=_FORK_SECONDS)
            if not more:
                break  # the machine gives no more
            made += more
        return made

    def _run(self, selector: selectors.BaseSelector) -> None:
        self._engine = LocalEngine(self._make, self._resolve, self._done, selector)
        selector.register(self._wake_read, selectors.EVENT_READ, self._arrived)
        while True:
            for key, _ in selector.select(self._patience()):
                action: Callable[[], None] = key.data
                action()
            self.note_tasks(self._engine.unfinished)
            if self._patience() == 0.0:
                self._leave()

    def _patience(self) -> float | None:
        """Return for how many seconds a client that is away may still come back; None where there is none."""
        replies = self._replies
        if replies is None or replies.channel is not None:
            return None
        return max(0.0, replies.lost_at + self._seconds - time.monotonic())

    def _arrived(self) -> None:
        assert self._selector is not None
        self._wake_read.recv(64)
        with contextlib.suppress(queue.Empty):
            while True:
                sock, client, resume = self._arrivals.get_nowait()
                self._lose()
                # Its first connection was lost before it came here: nothing of it has run.
                is_unseen = resume == 1 and client not in self._seen
                self._seen.add(client)
                if self._replies is None or self._replies.client != client or not resume:
                    self._leave()
                    self._replies = Replies(client, self._limits, is_begun=is_unseen)
                channel = self._replies.adopt(sock, resume)
                self._selector.register(channel.fileno(), selectors.EVENT_READ, self._hear)
                self._flush()
                self._hear()

    def _lose(self) -> None:
        """The connection is gone; the client may come back on another one, and what runs goes on."""
        assert self._selector is not None
        channel = self._replies.lose() if self._replies is not None else None
        if channel is not None:
            self._selector.unregister(channel.fileno())
            channel.close()

    def _leave(self) -> None:
        """The client will not come back: end what it has begun."""
        assert self._engine is not None
        self._lose()
        self._replies = None
        self._engine.close()

    def _hear(self) -> None:
        assert self._engine is not None
        if self._replies is None:
            return
        try:
            for frame in self._replies.read():
                request = messages.decode_request(frame.message)
                if isinstance(request, messages.DefineFunction):
                    self._engine.define(request.digest, frame.buffers)
                elif isinstance(request, messages.MapTask) and self._engine.waiting >= self._limit:
                    waiting = self._engine.waiting + 1
                    full = messages.OverLimit("the engine's queue", waiting, self._limit, "calls", "calls")
                    self._done(frame.call, full, ())
                elif isinstance(request, messages.MapTask):
                    self._engine.submit(
                        Task(frame.call, request.digest, frame.buffers, request.plain_results)
                    )
                elif isinstance(request, messages.CancelCall):
                    self._engine.cancel(request.call)
                elif isinstance(request, messages.ModulesChanged):
                    self._engine.renew()
                elif isinstance(request, messages.Leave):
                    self._leave()
                    return
        except (EOFError, OSError):
            self._lose()
        except (ProtocolError, msgspec.MsgspecError):
            self._leave()  # nobody may go on where it was
            self.on_broken()

    def _done(self, number: int, outcome: messages.Outcome, buffers: Sequence[Buffer]) -> None:
        if self._replies is not None and not self._replies.send(number, outcome, buffers):
            self._flush()

    def _flush(self) -> None:
        """Send what waits, however long the client takes to read it."""
        channel = self._replies.channel if self._replies is not None else None
        if channel is not None:
            try:
                channel.flush_all()
            except OSError:
                self._lose()
