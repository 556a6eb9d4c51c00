"""A client's link to a session or a program: requests go out, output and outcomes come back to the calls that wait.

Theory of operation. One connection carries the link. A link to a session outlives it (protocol page, section 7): its
frames are numbered and kept until the session has acknowledged them. When the connection breaks, calls go on waiting
and requests gather; `resume` gives the link another connection, on which it goes on as soon as the session has said
what it has received. `_lock` is held while a frame is numbered, kept and handed over, so that the numbers rise in the
order of the wire.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

from rpc_magic.client.interrupts import Deferred
from rpc_magic.client.leading import Leader
from rpc_magic.client.listener import Listener, Transfer
from rpc_magic.client.outbox import Entry, Outbox
from rpc_magic.errors import LimitError, ProtocolError, RpcMagicError
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.wire.frames import JOIN, Buffer, Frame
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Transfers

__all__ = ["Link"]

_ids = itertools.count(1)
_REMEMBERED = WorkerSettings().functions // 2
"""Functions that a link takes for known: fewer than a session remembers, so that none is forgotten there first."""
_ACKNOWLEDGE = messages.encode(messages.Acknowledge())
_OWED = 1 << 18
"""Bytes received after which they are acknowledged, so that the session need not hold them any longer."""


class _Known(dict[bytes, None]):
    """Digests of functions that the other side has been given; the oldest is forgotten first."""

    def add(self, digest: bytes) -> None:
        self[digest] = None
        if len(self) > _REMEMBERED:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
                del self[next(iter(self))]

    def discard(self, digest: bytes) -> None:
        self.pop(digest, None)


class Link:
    """See the module's text. Thread-safe.

    Args:
        sock: the connection.
        io: the thread that reads it.
        payload: bytes of buffers that the server takes in one frame.
        on_lost: called on the I/O thread when the connection is gone without having been closed, and told how, and
            whether the link can go on. If not, it returns the error that its calls end with, or None to give it later
            by `fail_all`.
        on_stray: takes output that belongs to no call that waits.
        store: finds chunks that need not be sent again; None for a link to a program, which cannot be resumed.

    Attributes:
        known: digests of the functions that the other side has been given.
        before_request: called before each request; it may send something.
        on_question: takes the session's questions for modules, on the thread that reads.
        on_libraries: takes the session's versions of libraries likewise; returns a text to show.
        on_resumed: called by whoever reads when the link goes on, or cannot (False).
        is_up: a connection carries the link.
    """

    def __init__(
        self,
        sock: socket.socket,
        io: IoThread,
        payload: int,
        on_lost: Callable[[str, bool], Exception | None],
        on_stray: Callable[[int, messages.Message, list[memoryview]], None],
        store: ChunkStore | None = None,
    ) -> None:
        self._store = store
        self._saved = [0, 0, 0]  # bytes sent, received and saved by earlier connections
        self._number = 0
        self._sent: deque[Entry] = deque()  # and not acknowledged
        self._owed_from = 0
        self._open(sock, 0, is_far=False)
        self._io, self._payload = io, payload
        self._on_lost, self._on_stray = on_lost, on_stray
        self._listeners: dict[int, Listener] = {}
        self._lock = threading.Lock()
        self._gone: Exception | None = None
        self._leading = threading.Lock()  # held by the thread that leads
        self.known = _Known()
        self.before_request: Callable[[], None] = lambda: None
        self.on_question: Callable[[messages.FindModule], None] = lambda _: None
        self.on_libraries: Callable[[dict[str, str]], str] = lambda _: ""
        self.on_resumed: Callable[[bool], None] = lambda _: None
        self.is_up = self._is_open = True
        io.watch(self)

    def _open(self, sock: socket.socket, last_seq: int, *, is_far: bool) -> None:
        limits = WireLimits()
        self._transfers = Transfers(self._store, limits.payload) if self._store is not None else None
        self._frames = FrameSocket(sock, limits, self._transfers, last_seq)
        self._outbox = Outbox(self._frames, self._transfers, is_far=is_far)
        self._leader = Leader(sock)
        self._owed_from = 0

    @property
    def bytes_sent(self) -> int:
        """Bytes sent so far."""
        return self._saved[0] + self._frames.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Bytes received so far."""
        return self._saved[1] + self._frames.bytes_received

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
        return self._saved[2] + (self._transfers.saved if self._transfers is not None else 0)

    @property
    def due(self) -> int:
        """Number of the frame that is due to come; it stands still while no connection carries the link."""
        return self._frames.last_seq + 1

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

    def has(self, call: int) -> bool:
        """Tell whether a call of this number has not ended."""
        return call in self._listeners

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
            wait: return only when the caller may change them: they have arrived, or were copied.
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
        entry: Entry | None = None
        with Deferred():
            call = listener.call = next(_ids)
            self._listeners[call] = listener
            if not (lead and self._may_lead()):
                entry = self._post(call, encoded, buffers, size)
            else:
                try:
                    entry = self._post(call, encoded, buffers, size)
                    if entry is None:
                        self._leader.wait(listener, self.readable)
                finally:
                    self._io.resume(self, has_unsent=self._frames.has_unsent)
                    self._leading.release()
        if wait and entry is not None and entry.done is not None and not self._io.is_current:
            entry.done.wait()
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
        if len(self._listeners) > 1 or not self.is_up or not self._leading.acquire(blocking=False):
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
            raise LimitError("what is to be sent", size, self._payload, setting="message")
        return size

    def _post(self, call: int, encoded: bytes, buffers: Sequence[Buffer], size: int) -> Entry | None:
        """Send a small frame at once, have the I/O thread send a large one; None when it was sent."""
        with self._lock:
            number = None
            if self._store is not None:
                number = self._number = self._number + 1
            entry = Entry(number, call, encoded, buffers, size)
            if number is not None:
                self._sent.append(entry)
            if not self.is_up:
                return entry
            if size < JOIN and not self._outbox:
                frames = self._frames
                try:
                    if not frames.send(call, encoded, entry.buffers, 0, number):
                        self._io.watch_writing(self)
                except OSError:
                    self._io.do(lambda: self._lose("it broke while sending", frames))
                return None
            self._outbox.post(entry)
        self._io.do(self._empty_outbox)
        return entry

    def acknowledge(self, owed: int = 0) -> None:
        """Tell the session what has come, when more than `owed` bytes have come since it was last told."""
        frames = self._frames
        if frames.bytes_received - self._owed_from > owed and self._store is not None and self.is_up:
            self._owed_from = frames.bytes_received
            self._send_unnumbered(0, _ACKNOWLEDGE)

    def _send_unnumbered(self, call: int, encoded: bytes) -> None:
        frames = self._frames
        try:
            if not frames.send(call, encoded, number=0):
                self._io.watch_writing(self)
        except OSError:
            self._io.do(lambda: self._lose("it broke while sending", frames))

    def _acknowledged(self, number: int) -> None:
        """Whoever reads: the session has received everything up to this number."""
        sent = self._sent
        while sent and (sent[0].number or 0) <= number:
            sent.popleft().finish()

    def abandon(self, call: int) -> None:
        """Take no more interest in a call; its outcome is dropped."""
        self._listeners.pop(call, None)

    # ------------------------------------------------------------ the I/O thread

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._frames.fileno()

    def readable(self) -> bool:
        """Read, and give each message to its call; False when there is nothing more to read."""
        frames = self._frames
        try:
            for frame in frames.read():
                self._dispatch(frame)
        except EOFError:
            self._io.do(lambda: self._lose("the other side closed it", frames))
            return False
        except OSError as error:
            detail = str(error)
            self._io.do(lambda: self._lose(detail, frames))
            return False
        except ProtocolError as error:
            broken = str(error)
            self._io.do(lambda: self._lose(broken, frames, is_broken=True))
            return False
        if frames.bytes_received - self._owed_from > _OWED:
            self.acknowledge()
        return True

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
        if self._sent and (self._sent[0].number or 0) <= frame.ack:
            self._acknowledged(frame.ack)
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
        if isinstance(message, messages.Acknowledge):
            return
        if isinstance(message, messages.Resumed):
            if self.is_up:
                raise ProtocolError("the other side goes on with what has not been cut")
            self._go_on(is_known=message.is_known)
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
        frames = self._frames
        try:
            is_empty = frames.flush()
        except OSError:
            self._lose("it broke while sending", frames)
            is_empty = True
        if is_empty:
            self._outbox.flushed()
            self._empty_outbox()
        return is_empty and not self._frames.has_unsent

    def _empty_outbox(self) -> None:
        frames = self._frames
        try:
            with self._lock:
                has_unsent = self._outbox.pump()
        except OSError:
            self._lose("it broke while sending", frames)
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
        else:
            self._send_unnumbered(call, messages.encode(answer))

    def _lose(self, detail: str, frames: FrameSocket, *, is_broken: bool = False) -> None:
        """The connection is gone; with `is_broken` it broke the protocol, which no other one would mend."""
        can_resume = self._store is not None and not is_broken
        with self._leading:  # whoever leads has seen it, or will at once
            if self._gone is not None or frames is not self._frames or not self._is_open:
                return
            if not is_broken:
                self.read_rest()  # it may have been noticed by sending
            with self._lock:
                self._is_open = self.is_up = False
                if not can_resume:
                    self._gone = RpcMagicError("this connection is gone")
        self._io.forget(self, frames.close)
        error = self._on_lost(detail, can_resume)
        if error is not None:
            self.fail_all(error)

    # ------------------------------------------------------------ another connection (I/O thread)

    def cut(self) -> None:
        """Nothing has come for too long: take the connection for gone."""
        self._lose("the server has not been heard of", self._frames)

    def resume(self, sock: socket.socket) -> None:
        """Go on, on another connection, once the session has said what it has received."""
        with self._leading, self._lock:
            if self._gone is not None or self._is_open:
                sock.close()
                return
            self._saved = [self.bytes_sent, self.bytes_received, self.bytes_saved]
            self._open(sock, self._frames.last_seq, is_far=self.is_far)
            self._is_open = True
        self._io.watch(self)

    def _go_on(self, *, is_known: bool) -> None:
        """The session has said what it has received: send the rest."""
        if is_known:
            with self._lock:
                for entry in self._sent:
                    self._outbox.post(entry)
                self.is_up = True
            self._io.do(self._empty_outbox)
        self.on_resumed(is_known)

    def fail_all(self, error: Exception) -> None:
        """End every call that waits with `error`. I/O thread only."""
        self._gone = error
        self._outbox.drop()
        while self._sent:
            self._sent.popleft().finish()
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
