"""Frames over one non-blocking stream socket.

Theory of operation. Any thread may send; what the kernel does not take at once is kept, in order, and leaves
by `flush`, which whoever watches the socket calls when it is writable. One thread at a time may read; a
second one finds nothing. A frame's numbers are given under the same lock under which its bytes are sent or
queued, so they rise in the order of the wire.

Interrupt-safety: a KeyboardInterrupt between a system call and the note of its result would lose count of
bytes. `send`, `flush` and `read` must therefore run where SIGINT does not raise: on a thread other than the
main one, or with the main thread's handler held back (the caller's business, as the two sides hold it back
differently).
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

from rpc_magic.settings import WireLimits
from rpc_magic.wire.frames import Buffer, Frame, FrameReader, Inlet, encode_frame

__all__ = ["FrameSocket"]

_LOOK_MS = 100
_SOCKET_BUFFER = 1 << 22
_PIECES = 64  # buffers handed to one sendmsg; IOV_MAX is 1024, and a longer call gains nothing
_PIECE = 1 << 24


class FrameSocket:
    """Frames over one connected stream socket, which it owns.

    Args:
        sock: the socket; made non-blocking.
        limits: what a received frame may hold.
        inlet, last_seq: see `FrameReader`.

    Attributes:
        bytes_sent, bytes_received: so far.
    """

    def __init__(
        self,
        sock: socket.socket,
        limits: WireLimits | None = None,
        inlet: Inlet | None = None,
        last_seq: int = 0,
    ) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        self._sock = sock
        self._reader = FrameReader(limits, inlet, last_seq)
        self._reading = threading.Lock()
        self._sending = threading.Lock()
        self._queue: deque[memoryview] = deque()
        self._seq = 0
        self._closed = False
        self.bytes_sent = 0
        self.bytes_received = 0

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 when closed."""
        return self._sock.fileno()

    @property
    def has_unsent(self) -> bool:
        """True while something waits for the socket to become writable."""
        return bool(self._queue)

    @property
    def bytes_unsent(self) -> int:
        """Bytes that wait for the socket to become writable."""
        return sum(map(len, tuple(self._queue)))

    @property
    def incoming(self) -> tuple[int, int, int]:
        """See `FrameReader.incoming`."""
        return self._reader.incoming

    @property
    def last_seq(self) -> int:
        """See `FrameReader.last_seq`."""
        return self._reader.last_seq

    @property
    def is_closed(self) -> bool:
        """True after `close`."""
        return self._closed

    def send(
        self,
        call: int,
        message: bytes,
        buffers: Sequence[Buffer] = (),
        transfer: int = 0,
        number: int | None = None,
    ) -> bool:
        """Send a frame, or queue what the kernel does not take; `transfer` as in `Frame`.

        `number` is its `seq`; by default the frames of a connection are counted.

        Buffers are referred to until they have left: they must not change before `has_unsent` is False, or
        `own_unsent` was called.

        Returns:
            True when all of it has left.

        Raises:
            OSError: the connection is gone.
        """
        with self._sending:
            if self._closed:
                raise OSError(errno.EBADF, "the connection is closed")
            seq = self._seq + 1 if number is None else number
            pieces = encode_frame(call, seq, self._reader.last_seq, message, buffers, transfer)
            if number is None:
                self._seq = seq  # only now: a number whose frame could not be made must not be missed
            if not self._queue:
                if len(pieces) == 1:
                    piece = pieces[0]
                    try:
                        sent = self._sock.send(piece)
                    except BlockingIOError:
                        sent = 0
                    self.bytes_sent += sent
                    if sent == len(piece):
                        return True
                    self._queue.append(memoryview(piece)[sent:])
                    return False
                self._queue.extend(map(memoryview, pieces))
                return self._drain()
            self._queue.extend(map(memoryview, pieces))
            return False

    def own_unsent(self) -> None:
        """Copy what waits, so that the buffers that were sent may change. Any thread."""
        with self._sending:
            self._queue = deque(
                piece if type(piece.obj) is bytes else memoryview(bytes(piece)) for piece in self._queue
            )

    def flush(self) -> bool:
        """Send what waits, as far as the kernel takes it; return True when nothing waits any more.

        Raises:
            OSError: the connection is gone.
        """
        with self._sending:
            return self._drain()

    def flush_all(self, is_given_up: Callable[[], bool] | None = None) -> None:
        """Send all that waits, however long the other side takes to read it.

        Args:
            is_given_up: asked ten times a second; when it says yes, what waits is left for the next one who sends.

        Raises:
            OSError: the connection is gone.
        """
        poll = None
        while not self.flush():
            if is_given_up is not None and is_given_up():
                return
            if poll is None:
                poll = select.poll()
                poll.register(self._sock, select.POLLOUT)
            poll.poll(_LOOK_MS)

    def _drain(self) -> bool:
        queue = self._queue
        while queue:
            pieces: list[memoryview] = []
            for piece in queue:
                pieces.append(piece[:_PIECE])
                if len(piece) > _PIECE or len(pieces) == _PIECES:
                    break  # nothing may follow a piece of which only the beginning is sent
            try:
                sent = self._sock.sendmsg(pieces) if len(pieces) > 1 else self._sock.send(pieces[0])
            except BlockingIOError:
                return False
            self.bytes_sent += sent
            while sent:
                head = queue[0]
                if sent < len(head):
                    queue[0] = head[sent:]
                    break
                sent -= len(head)
                queue.popleft()
        return True

    def read(self) -> list[Frame]:
        """Return the frames that have arrived, without waiting; [] when none has or another thread reads.

        Raises:
            EOFError: the other side has closed.
            OSError: the connection is gone.
            ProtocolError: what came is no frame.
        """
        if not self._reading.acquire(blocking=False):
            return []
        try:
            reader = self._reader
            while True:
                try:
                    n = self._sock.recv_into(reader.buffer_to_fill())
                except BlockingIOError:
                    return []
                if not n:
                    raise EOFError("the other side closed the connection")
                self.bytes_received += n
                frames = reader.filled(n)
                if frames or reader.is_between_frames:
                    return frames
        finally:
            self._reading.release()

    def hang_up(self) -> None:
        """End the connection without closing the socket: whoever sends or reads finds it gone. Any thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; what waits is dropped. May be called more than once, and by any thread."""
        with self._sending:  # another thread may be about to take note of what it has sent
            self._closed = True
            self._queue.clear()
            self._sock.close()
