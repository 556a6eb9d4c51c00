"""Joins a session's engine connection with its engine; a thread that lives from the first such connection on.

Payloads pass through unread, except that an argument which stands for a value of the session is replaced by it.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
from collections.abc import Callable, Sequence

import msgspec

from rpc_magic.engines.base import Task
from rpc_magic.engines.local import LocalEngine, Resolve
from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import FrameSocket, PacketSocket
from rpc_magic.wire import internal, messages
from rpc_magic.wire.frames import Buffer

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
    """

    def __init__(self, keeper: PacketSocket, resolve: Resolve, settings: WorkerSettings) -> None:
        self._keeper, self._resolve, self._limit = keeper, resolve, settings.calls
        self._limits = WireLimits(payload=settings.message)
        self._forked: queue.SimpleQueue[list[tuple[int, socket.socket]]] = queue.SimpleQueue()
        self._arrivals: queue.SimpleQueue[FrameSocket] = queue.SimpleQueue()
        self._wake_read, self._wake_write = socket.socketpair()
        self._channel: FrameSocket | None = None
        self._engine: LocalEngine | None = None
        self._selector: selectors.BaseSelector | None = None

    def adopt(self, sock: socket.socket) -> None:
        """Helper thread: serve this connection; it takes the place of an older one."""
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            threading.Thread(
                target=self._run, args=(self._selector,), name="rpc_magic-engine", daemon=True
            ).start()
        self._arrivals.put(FrameSocket(sock, self._limits))
        self._wake_write.send(b"\0")

    def forked(self, pids: Sequence[int], descriptors: Sequence[int]) -> None:
        """Helper thread: the keeper has made processes."""
        self._forked.put([(pid, socket.socket(fileno=fd)) for pid, fd in zip(pids, descriptors, strict=True)])

    def _make(self, count: int) -> list[tuple[int, socket.socket]]:
        made: list[tuple[int, socket.socket]] = []
        while len(made) < count:
            self._keeper.send(internal.ForkEngine(min(count - len(made), _FORKED_AT_ONCE)))
            more = self._forked.get(timeout=_FORK_SECONDS)
            if not more:
                break  # the machine gives no more
            made += more
        return made

    def _run(self, selector: selectors.BaseSelector) -> None:
        self._engine = LocalEngine(self._make, self._resolve, self._done, selector)
        selector.register(self._wake_read, selectors.EVENT_READ, self._arrived)
        while True:
            for key, _ in selector.select():
                action: Callable[[], None] = key.data
                action()

    def _arrived(self) -> None:
        assert self._selector is not None
        self._wake_read.recv(64)
        with contextlib.suppress(queue.Empty):
            while True:
                channel = self._arrivals.get_nowait()
                self._leave()
                self._channel = channel
                self._selector.register(channel.fileno(), selectors.EVENT_READ, self._hear)
                self._hear()

    def _leave(self) -> None:
        assert self._selector is not None
        assert self._engine is not None
        if self._channel is not None:
            self._selector.unregister(self._channel.fileno())
            self._channel.close()
            self._channel = None
            self._engine.close()

    def _hear(self) -> None:
        assert self._engine is not None
        if self._channel is None:
            return
        try:
            for frame in self._channel.read():
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
        except (EOFError, OSError, ProtocolError, msgspec.MsgspecError):
            self._leave()

    def _done(self, number: int, outcome: messages.Outcome, buffers: Sequence[Buffer]) -> None:
        if self._channel is None:
            return
        try:
            if not self._channel.send(number, messages.encode(outcome), buffers):
                self._channel.flush_all()
        except OSError:
            self._leave()
