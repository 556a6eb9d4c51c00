"""Frames: one message and the buffers of its objects (protocol page, section 4).

A frame is a header of fixed size, the message, a table of the buffers' lengths, and the buffers. `FrameReader`
takes bytes in whatever pieces they come and gives frames; a large buffer is received straight into the memory it
stays in. `encode_frame` gives the pieces to send, in order; large buffers are not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WireLimits
from rpc_magic.wire.memory import allocate

__all__ = ["HEADER", "JOIN", "MAGIC", "VERSION", "Buffer", "Frame", "FrameReader", "encode_frame"]

Buffer = bytes | bytearray | memoryview

VERSION = 1
MAGIC = b"Rm"
HEADER = Struct("!2sBBIQQQII")
"""magic, version, flags, message length, call id, sequence number, acknowledged number, buffers, reserved."""

JOIN = 1 << 16
"""Bytes up to which a frame leaves as one piece: one system call, and the copy is cheaper than a second one."""

_STAGING = 1 << 17
_LENGTH = Struct("!Q")
_HEADER_SIZE = HEADER.size


class Frame(NamedTuple):
    """One received frame.

    Attributes:
        call: the call it belongs to; 0 for none.
        seq: its number on this connection, from 1.
        ack: the sender has handled our frames up to this number.
        message: the encoded message.
        buffers: the buffers of its objects; writable, and the receiver's own.
    """

    call: int
    seq: int
    ack: int
    message: bytes
    buffers: list[memoryview]


def encode_frame(call: int, seq: int, ack: int, message: bytes, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the pieces of a frame, to be sent in order.

    Buffers are referred to, not copied, unless the whole frame is small: they must not change until they have left.
    """
    header = HEADER.pack(MAGIC, VERSION, 0, len(message), call, seq, ack, len(buffers), 0)
    if not buffers:
        return [header + message]
    flat = [b if isinstance(b, bytes) else memoryview(b).cast("B") for b in buffers]
    table = b"".join([_LENGTH.pack(len(b)) for b in flat])
    if sum(map(len, flat)) + len(message) <= JOIN:
        return [b"".join([header, message, table, *flat])]
    return [b"".join([header, message, table]), *[b for b in flat if len(b)]]


class FrameReader:
    """Turns received bytes into frames; not thread-safe.

    Use: receive into ``buffer_to_fill()``, tell how many bytes came by ``filled(n)``, which returns the frames that
    are now complete. After a `ProtocolError` the reader is of no further use.

    A frame is read in two phases. Everything before its first large buffer passes through a small staging area, so
    that many small frames cost one system call. Then ``buffer_to_fill`` hands out the final memory itself.

    Args:
        limits: what a frame may hold; checked before memory is taken.
    """

    def __init__(self, limits: WireLimits | None = None) -> None:
        self._limits = limits or WireLimits()
        self._staging = memoryview(bytearray(_STAGING))
        self._start = 0  # of the bytes in staging that are not yet parsed
        self._end = 0
        self._overflow: bytearray | None = None  # a message or table larger than the staging area
        self._open: tuple[int, int, int, bytes, list[memoryview]] | None = None  # frame whose buffers are filled
        self._index = 0  # of the buffer that is being filled
        self._at = 0  # bytes of it that are there
        self._last_seq = 0

    @property
    def last_seq(self) -> int:
        """Number of the last complete frame."""
        return self._last_seq

    @property
    def is_between_frames(self) -> bool:
        """True when no part of an unfinished frame has been received."""
        return self._open is None and self._start == self._end and not self._overflow

    def buffer_to_fill(self) -> memoryview:
        """Return memory to receive into; never empty."""
        if self._open is not None:
            return self._open[4][self._index][self._at :]
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == _STAGING:
            self._make_room()
        return self._staging[self._end :]

    def filled(self, n: int) -> list[Frame]:
        """Take note that `n` bytes were received; return the frames that are complete now.

        Raises:
            ProtocolError: the bytes are no frame, or over a limit.
        """
        frames: list[Frame] = []
        if self._open is not None:
            self._at += n
            if self._at == len(self._open[4][self._index]) and self._next_buffer():
                frames.append(self._close())
            return frames
        self._end += n
        while self._open is None and self._parse(frames):
            pass
        return frames

    # ------------------------------------------------------------ inside

    def _make_room(self) -> None:
        """Staging is full and holds no whole head of a frame: move it to the front, or out to a larger area."""
        waiting = self._staging[self._start : self._end]
        if len(waiting) == _STAGING:
            if self._overflow is None:
                self._overflow = bytearray()
            self._overflow += waiting
            self._start = self._end = 0
        else:
            self._staging[: len(waiting)] = bytes(waiting)
            self._start, self._end = 0, len(waiting)

    def _parse(self, frames: list[Frame]) -> bool:
        """Parse one frame's head out of staging; True when there may be another one behind it."""
        view = self._staging[self._start : self._end]
        if self._overflow is not None:
            view = memoryview(bytes(self._overflow) + bytes(view))
        size = len(view)
        if size < _HEADER_SIZE:
            if size >= 3:
                self._check_start(view)
            return False
        magic, version, flags, length, call, seq, ack, count, reserved = HEADER.unpack_from(view)
        if magic != MAGIC or version != VERSION or flags or reserved:
            self._check_start(view)
            raise ProtocolError("a frame header has unknown flags")
        limits = self._limits
        if length > limits.message or count > limits.buffers:
            raise ProtocolError(f"a frame with a message of {length:,} bytes and {count:,} buffers is over the limit")
        if seq != self._last_seq + 1:
            raise ProtocolError(f"frame {seq} came where {self._last_seq + 1} was due")
        table = _HEADER_SIZE + length
        head = table + count * 8
        if size < head:
            return False
        message = bytes(view[_HEADER_SIZE:table])
        self._last_seq = seq
        if not count:
            self._consume(size, head)
            frames.append(Frame(call, seq, ack, message, []))
            return self._start < self._end
        lengths = [n for (n,) in _LENGTH.iter_unpack(view[table:head])]
        if sum(lengths) > limits.payload:
            raise ProtocolError(f"a frame with {sum(lengths):,} bytes of buffers is over the limit")
        return self._fill(frames, (call, seq, ack, message, [allocate(n) for n in lengths]), view, head)

    def _check_start(self, view: memoryview) -> None:
        if view[:2] != MAGIC:
            raise ProtocolError("what came is no frame: is the other side rpc_magic?")
        if view[2] != VERSION:
            raise ProtocolError(f"the other side speaks version {view[2]} of the protocol, this one {VERSION}")

    def _consume(self, size: int, used: int) -> None:
        """Take `used` of the `size` bytes that were looked at as parsed."""
        if self._overflow is not None:
            rest = size - used  # less than what staging holds: the overflow alone was no whole head
            self._overflow = None
            self._start = self._end - rest
        else:
            self._start += used

    def _fill(
        self, frames: list[Frame], frame: tuple[int, int, int, bytes, list[memoryview]], view: memoryview, at: int
    ) -> bool:
        """Copy what has already come of a frame's buffers; leave the frame open for the rest."""
        size = len(view)
        self._open, self._index, self._at = frame, -1, 0
        done = self._next_buffer()
        while not done and at < size:
            target = frame[4][self._index]
            part = min(len(target), size - at)
            target[:part] = view[at : at + part]
            at += part
            self._at = part
            if part < len(target):
                break
            done = self._next_buffer()
        self._consume(size, at)
        if done:
            frames.append(self._close())
            return self._start < self._end
        return False

    def _next_buffer(self) -> bool:
        """Go to the next buffer that is not empty; True when there is none."""
        assert self._open is not None
        buffers = self._open[4]
        self._index += 1
        while self._index < len(buffers) and not len(buffers[self._index]):
            self._index += 1
        self._at = 0
        return self._index == len(buffers)

    def _close(self) -> Frame:
        assert self._open is not None
        frame = Frame(*self._open)
        self._open = None
        return frame
