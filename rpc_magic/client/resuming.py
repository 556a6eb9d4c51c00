"""The connections that carry a link, one after the other; frames are numbered, and kept until they are acknowledged.

Theory of operation. One connection carries the link, which outlives it (protocol page, section 7): frames are numbered
and kept until the other side has acknowledged them. When the connection breaks, what is sent gathers; `resume` gives
the link another connection, on which it goes on as soon as the other side has said what it has received.
`_lock` is held while a frame is numbered, kept and handed over, so that the numbers rise in the order of the wire.
"""

from __future__ import annotations

import copy
import socket
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

from rpc_magic.client.interrupts import Deferred
from rpc_magic.client.leading import Leader
from rpc_magic.client.outbox import Entry, Outbox
from rpc_magic.errors import LimitError, ProtocolError, RpcMagicError
from rpc_magic.settings import WireLimits
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.wire.frames import JOIN, Buffer, Frame
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Transfers

__all__ = ["ResumableLink"]

_OWED = 1 << 18
"""Bytes received after which they are acknowledged, so that the other side need not hold them any longer."""


class ResumableLink(ABC):
    """See the module's text. Thread-safe.

    Args:
        sock: the connection.
        io: the thread that reads it.
        payload: bytes of buffers that the server takes in one frame.
        on_lost: called on the I/O thread when the connection is gone without having been closed, and told how, and
            whether the link can go on. If not, it returns the error that its calls end with, or None to give it later
            by `fail_all`.
        store: finds chunks that need not be sent again; None where nothing is sent in chunks.

    Attributes:
        on_resumed: called by whoever reads when the link goes on, or cannot (False).
        is_up: a connection carries the link.
        has_all: the session has died, and all that it had not sent before has come.
    """

    def __init__(
        self,
        sock: socket.socket,
        io: IoThread,
        payload: int,
        on_lost: Callable[[str, bool], Exception | None],
        store: ChunkStore | None,
    ) -> None:
        self._store = store
        self._transfers: Transfers | None = None
        self._saved = [0, 0, 0]  # bytes sent, received and saved by earlier connections
        self._number = 0
        self._sent: deque[Entry] = deque()  # and not acknowledged
        self._open(sock, 0, is_far=False)
        self._io, self._payload, self._on_lost = io, payload, on_lost
        self._lock = threading.Lock()
        self._gone: Exception | None = None
        self._leading = threading.Lock()  # held by the thread that leads
        self.on_resumed: Callable[[bool], None] = lambda _: None
        self.is_up = self._is_open = True
        self.has_all = False

    @abstractmethod
    def _dispatch(self, frame: Frame) -> None:
        """Whoever reads: take what has come.

        Raises:
            ProtocolError: it does not fit to what came before.
        """

    @abstractmethod
    def fail_all(self, error: Exception) -> None:
        """End every call that waits with `error`. I/O thread only."""

    def _open(self, sock: socket.socket, last_seq: int, *, is_far: bool) -> None:
        limits = WireLimits()
        earlier = self._transfers
        self._transfers = Transfers(self._store, limits.payload) if self._store is not None else None
        if earlier is not None and self._transfers is not None:
            self._transfers.follow(earlier)
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

    # ------------------------------------------------------------ sending (any thread)

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
            number = self._number = self._number + 1
            entry = Entry(number, call, encoded, buffers, size)
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
        """Tell the other side what has come, when more than `owed` bytes have come since it was last told."""
        frames = self._frames
        if frames.bytes_received - self._owed_from > owed and self.is_up:
            self._owed_from = frames.bytes_received
            self._send_unnumbered(0, messages.ACKNOWLEDGE)

    def _send_unnumbered(self, call: int, encoded: bytes) -> None:
        frames = self._frames
        try:
            if not frames.send(call, encoded, number=0):
                self._io.watch_writing(self)
        except OSError:
            self._io.do(lambda: self._lose("it broke while sending", frames))

    def _acknowledged(self, number: int) -> None:
        """Whoever reads: the other side has received everything up to this number."""
        sent = self._sent
        while sent and sent[0].number <= number:
            sent.popleft().finish()

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

    def writable(self) -> bool:
        """Send what waits; True when nothing waits any more."""
        frames = self._frames
        try:
            is_empty = frames.flush()
        except OSError:
            self._lose("it broke while sending", frames)
            is_empty = True
        if is_empty:
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

    def _lose(self, detail: str, frames: FrameSocket, *, is_broken: bool = False) -> None:
        """The connection is gone; with `is_broken` it broke the protocol, which no other one would mend."""
        with self._leading:  # whoever leads has seen it, or will at once
            if self._gone is not None or frames is not self._frames or not self._is_open:
                return
            if not is_broken:
                self.read_rest()  # it may have been noticed by sending
            with self._lock:
                self._is_open = self.is_up = False
                if is_broken:
                    self._gone = RpcMagicError("this connection is gone")
        self._io.forget(frames, frames.close)  # not `self`, which may go on before it is this one's turn
        error = self._on_lost(detail, not is_broken)
        if error is not None:
            self.fail_all(error)

    # ------------------------------------------------------------ another connection (I/O thread)

    def cut(self) -> None:
        """Nothing has come for too long: take the connection for gone."""
        self._lose("the server has not been heard of", self._frames)

    def cut_unanswered(self) -> None:
        """Take a connection for gone on which the other side does not go on."""
        if not self.is_up:
            self.cut()

    def resume(self, sock: socket.socket, due: int) -> bool:
        """Go on, on another connection, once the other side has said what it has received.

        Returns:
            False when it is of no use: what was `due` when it was made has come meanwhile, or the link needs none.
        """
        with self._leading, self._lock:
            if self._gone is not None or self._is_open or due != self.due:
                sock.close()
                return False
            self._saved = [self.bytes_sent, self.bytes_received, self.bytes_saved]
            self._open(sock, self._frames.last_seq, is_far=self.is_far)
            self._is_open = True
        self._io.watch(self)
        return True

    def _go_on(self, *, is_known: bool) -> None:
        """The other side has said what it has received: send the rest."""
        if is_known:
            with self._lock:
                for entry in self._sent:
                    self._outbox.post(entry)
                self.is_up = True
            self._io.do(self._empty_outbox)
        self.on_resumed(is_known)
