"""One data connection of a client: requests go out, output and outcomes come back to the calls that wait for them."""

from __future__ import annotations

import contextlib
import copy
import itertools
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rpc_magic.client.interrupts import Deferred
from rpc_magic.client.leading import Leader
from rpc_magic.client.outbox import Outbox
from rpc_magic.errors import LimitError, ProtocolError, RpcMagicError
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.wire.frames import JOIN, Buffer, Frame
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Transfers

__all__ = ["Link", "Listener", "Transfer"]

_ids = itertools.count(1)
_REMEMBERED = WorkerSettings().functions // 2
"""Functions that a link takes for known: fewer than a session remembers, so that none is forgotten there first."""


class _Known(dict[bytes, None]):
    """Digests of functions that the other side has been given; the oldest is forgotten first."""

    def add(self, digest: bytes) -> None:
        self[digest] = None
        if len(self) > _REMEMBERED:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
                del self[next(iter(self))]

    def discard(self, digest: bytes) -> None:
        self.pop(digest, None)


class Transfer(NamedTuple):
    """How far the objects of a call have come.

    Attributes:
        is_upload: they are sent, else received.
        done, total: bytes.
    """

    is_upload: bool
    done: int
    total: int


class Listener(Protocol):
    """A call, as its link knows it. Its methods are called on the I/O thread, or on a thread that leads.

    Attributes:
        call: its id.
        waits: its caller waits, and takes what comes in order: the messages of widgets among what the call shows.
    """

    call: int
    waits: bool

    @property
    def has_events(self) -> bool:
        """Something has come for it."""

    def output(self, message: messages.Output | messages.CommMessage, buffers: list[memoryview]) -> None:
        """Something the call shows."""

    def finish(self, outcome: messages.Outcome, buffers: list[memoryview]) -> None:
        """The end of the call."""

    def fail(self, error: Exception) -> None:
        """The call's end will not come."""


class Link:
    """A proved data connection.

    Args:
        sock: the connection.
        io: the thread that reads it.
        payload: bytes of buffers that the server takes in one frame.
        on_lost: called once on the I/O thread when the connection is gone without having been closed; returns the
            error that its calls end with, or None to give it later by `fail_all`.
        on_stray: takes output that belongs to no call that waits.
        store: finds chunks that need not be sent again; None for a side that does not know of chunks.

    Attributes:
        known: digests of the functions that the other side has been given.
        before_request: called before each request; it may send something.
        on_question: takes the session's questions for modules, on the thread that reads.
        on_libraries: takes the session's versions of libraries likewise; returns a text to show.
    """

    def __init__(
        self,
        sock: socket.socket,
        io: IoThread,
        payload: int,
        on_lost: Callable[[str], Exception | None],
        on_stray: Callable[[int, messages.Message, list[memoryview]], None],
        store: ChunkStore | None = None,
    ) -> None:
        limits = WireLimits()
        self._transfers = Transfers(store, limits.payload) if store is not None else None
        self._frames = FrameSocket(sock, limits, self._transfers)
        self._io, self._payload = io, payload
        self._on_lost, self._on_stray = on_lost, on_stray
        self._listeners: dict[int, Listener] = {}
        self._outbox = Outbox(self._frames, self._transfers)
        self._lock = threading.Lock()
        self._gone: Exception | None = None
        self._leader = Leader(sock)
        self._leading = threading.Lock()  # held by the thread that leads
        self.known = _Known()
        self.before_request: Callable[[], None] = lambda: None
        self.on_question: Callable[[messages.FindModule], None] = lambda _: None
        self.on_libraries: Callable[[dict[str, str]], str] = lambda _: ""
        io.watch(self)

    @property
    def bytes_sent(self) -> int:
        """Bytes sent so far."""
        return self._frames.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Bytes received so far."""
        return self._frames.bytes_received

    @property
    def is_far(self) -> bool:
        """True when the other side is far away: what goes slowly is compressed."""
        return self._outbox.is_far

    @is_far.setter
    def is_far(self, is_far: bool) -> None:
        self._outbox.is_far = is_far

    @property
    def bytes_saved(self) -> int:
        """Bytes that were not sent because the other side had them, so far."""
        return self._transfers.saved if self._transfers is not None else 0

    @property
    def is_session(self) -> bool:
        """True for the connection to a session, not to a program that exposes functions."""
        return self._transfers is not None

    @property
    def is_gone(self) -> bool:
        """True once nothing can be sent any more."""
        return self._gone is not None

    @property
    def is_busy(self) -> bool:
        """True while a call has not ended."""
        return bool(self._listeners)

    # ------------------------------------------------------------ requests (any thread)

    def start(
        self,
        listener: Listener,
        message: messages.Message,
        buffers: Sequence[Buffer] = (),
        *,
        wait: bool = False,
        lead: bool = False,
    ) -> int:
        """Send a request; its output and outcome go to `listener`.

        Args:
            listener: the call; its `call` is set to its id.
            message: the request.
            buffers: its objects. They are referred to until they have been sent.
            wait: return only when they have been sent, so that the caller may change them.
            lead: the caller is about to wait for the outcome: where it is the only one, it reads for itself for a
                moment, which saves two switches of threads.

        Returns:
            The call's id.

        Raises:
            LimitError: the objects are larger than what the server takes.
            RpcMagicError: the connection is gone.
            KeyboardInterrupt: Ctrl-C; the request has been sent when `listener.call` is set.
        """
        size = self._check(buffers)
        encoded = messages.encode(message)
        self.before_request()
        sent: threading.Event | None = None
        with Deferred():
            call = listener.call = next(_ids)
            self._listeners[call] = listener
            if not (lead and self._may_lead()):
                sent = self._post(call, encoded, buffers, size)
            else:
                try:
                    sent = self._post(call, encoded, buffers, size)
                    if sent is None:
                        self._leader.wait(listener, self.readable)
                finally:
                    self._io.resume(self, has_unsent=self._frames.has_unsent)
                    self._leading.release()
        if wait and sent is not None and not self._io.is_current:
            sent.wait()
        return call

    def transfer(self, call: int) -> Transfer | None:
        """Return how far the objects of a call have come that are on their way now; None when none are. Any thread."""
        incoming, done, total = self._frames.incoming
        if self._transfers is not None and self._transfers.incoming[0] == call:
            incoming, done, total = self._transfers.incoming
        if incoming == call and total:
            return Transfer(is_upload=False, done=done, total=total)
        upload = self._outbox.progress(call)
        return None if upload is None else Transfer(True, *upload)

    def _may_lead(self) -> bool:
        """Become the one that reads, when no other call is under way; the I/O thread then holds off."""
        if len(self._listeners) > 1 or not self._leading.acquire(blocking=False):
            return False  # a call may have its outcome, and its thread still be leading
        if self._io.pause(self):
            return True
        self._leading.release()
        return False

    def send(self, call: int, message: messages.Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send a message that belongs to `call`, or to none (0)."""
        size = self._check(buffers)
        encoded = messages.encode(message)
        with Deferred():
            self._post(call, encoded, buffers, size)

    def _check(self, buffers: Sequence[Buffer]) -> int:
        """Return how many bytes `buffers` have, when they can be sent."""
        if self._gone is not None:
            raise copy.copy(self._gone)  # the one that is kept must not gather tracebacks
        size = sum(map(len, buffers))
        if size > self._payload:
            raise LimitError("what is to be sent", size, self._payload, setting="message limit")
        return size

    def _post(
        self, call: int, encoded: bytes, buffers: Sequence[Buffer], size: int
    ) -> threading.Event | None:
        """Send a small frame at once, have the I/O thread send a large one; return what tells that it has left."""
        if size < JOIN and self._send_now(call, encoded, buffers):
            return None
        sent = self._outbox.post(call, encoded, buffers, size)
        self._io.do(self._empty_outbox)
        return sent

    def _send_now(self, call: int, encoded: bytes, buffers: Sequence[Buffer]) -> bool:
        """Send a small frame from the calling thread; False when others wait before it."""
        with self._lock:
            if self._outbox:
                return False
            try:
                if not self._frames.send(call, encoded, buffers):
                    self._io.watch_writing(self)
            except OSError:
                self._io.do(lambda: self._lose("it broke while sending"))
            return True

    def abandon(self, call: int) -> None:
        """Take no more interest in a call; its outcome is dropped."""
        self._listeners.pop(call, None)

    # ------------------------------------------------------------ the I/O thread

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._frames.fileno()

    def readable(self) -> None:
        """Read, and give each message to its call."""
        try:
            for frame in self._frames.read():
                self._dispatch(frame)
        except EOFError:
            self._io.do(lambda: self._lose("the other side closed it"))
        except (OSError, ProtocolError) as error:
            detail = str(error)
            self._io.do(lambda: self._lose(detail))

    def read_rest(self) -> None:
        """The other side has ended: take in what it had sent before. I/O thread only."""
        while True:
            before = self._frames.bytes_received
            try:
                for frame in self._frames.read():
                    self._dispatch(frame)
            except (EOFError, OSError, ProtocolError):
                return
            if self._frames.bytes_received == before:
                return

    def _dispatch(self, frame: Frame) -> None:
        message, call, buffers = messages.decode_answer(frame.message), frame.call, frame.buffers
        if isinstance(message, messages.Outcome):
            listener = self._listeners.pop(call, None)
            if listener is not None:
                listener.finish(message, buffers)
            return
        if isinstance(message, (messages.AllNamed, messages.Lacking)):
            self._take_transfer(call, message)
            return
        if isinstance(message, messages.FindModule):
            self.on_question(message)
            return
        if isinstance(message, messages.Libraries):
            text = self.on_libraries(message.versions)
            if not text:
                return
            message = messages.Stream("stderr", text)
        listener = self._listeners.get(call)
        kinds = (messages.Output, messages.CommMessage) if listener and listener.waits else messages.Output
        if listener is not None and isinstance(message, kinds):
            listener.output(message, buffers)
        else:
            with contextlib.suppress(Exception):  # a broken sys.stdout here must not end the connection
                self._on_stray(call, message, buffers)

    def writable(self) -> bool:
        """Send what waits; True when nothing waits any more."""
        try:
            is_empty = self._frames.flush()
        except OSError:
            self._lose("it broke while sending")
            is_empty = True
        if is_empty:
            self._outbox.flushed()
            self._empty_outbox()
        return is_empty and not self._frames.has_unsent

    def _empty_outbox(self) -> None:
        try:
            with self._lock:
                has_unsent = self._outbox.pump()
        except OSError:
            self._lose("it broke while sending")
        else:
            if has_unsent:
                self._io.watch_writing(self)

    def _take_transfer(self, call: int, message: messages.AllNamed | messages.Lacking) -> None:
        """Take what is said of large buffers; answer it, and go on with what waited for it."""
        if self._transfers is None:
            raise ProtocolError("large buffers were told of where there are none")
        answer = self._transfers.answer(message)
        if answer is None:
            self._io.do(self._empty_outbox)
        elif not self._frames.send(call, messages.encode(answer)):
            self._io.watch_writing(self)

    def _lose(self, detail: str) -> None:
        if self._gone is not None:
            return
        self._gone = RpcMagicError("this connection is gone")
        with contextlib.suppress(KeyError, ValueError):
            self._io.forget(self, self._frames.close)
        error = self._on_lost(detail)
        if error is not None:
            self.fail_all(error)

    def fail_all(self, error: Exception) -> None:
        """End every call that waits with `error`. I/O thread only."""
        self._gone = error
        self._outbox.drop()
        while self._listeners:
            self._listeners.popitem()[1].fail(error)

    def close(self, error: Exception) -> None:
        """Close the connection; calls that wait end with `error`. Any thread."""
        if self._gone is None:
            self._gone = error

            def then() -> None:
                self._frames.close()
                self.fail_all(error)

            self._io.forget(self, then)
