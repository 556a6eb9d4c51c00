"""Frames: one message and the buffers of its objects (protocol page, section 4).

A frame is a header of fixed size, the message, a table of the buffers' lengths, and the buffers.
`FrameReader` takes bytes in whatever pieces they come and gives frames; a large buffer is received straight
into the memory it stays in. `encode_frame` gives the pieces to send, in order; large buffers are not copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, Protocol

from rpc_magic.errors import ProtocolError
from rpc_magic.memory import OWN_PAGES, allocate
from rpc_magic.settings import WireLimits

__all__ = ["HEADER", "JOIN", "MAGIC", "VERSION", "Buffer", "Frame", "FrameReader", "Inlet", "encode_frame"]

Buffer = bytes | bytearray | memoryview

VERSION = 1
MAGIC = b"Rm"
HEADER = Struct("!2sBBIQQQII")
"""magic, version, flags, message length, call id, sequence number, acknowledged number, buffers, transfer."""

JOIN = 1 << 16
"""Bytes up to which a frame leaves as one piece: one system call; the copy is cheaper than a second one."""

_STAGING = 1 << 17
"""Bytes that are received at once while it is not known what they are; less than `OWN_PAGES`."""

_DIRECT = 1 << 16
"""Missing bytes from which a buffer is received in place: below, fewer system calls beat one copy less."""

_AT_ONCE = 1 << 30
"""Bytes asked for at once: some systems refuse 2 GiB."""

_FRAME_SIZE = 256
"""Bytes that a received frame takes beside its message and buffers, about."""

_LENGTH = Struct("!Q")
_HEADER_SIZE = HEADER.size

assert _STAGING < OWN_PAGES


class Frame(NamedTuple):
    """One received frame.

    Attributes:
        call: the call it belongs to; 0 for none.
        seq: its number in this direction, from 1; 0 for one that has none (protocol page, section 7).
        ack: the sender has received our frames up to this number.
        message: the encoded message.
        buffers: the buffers of its objects; writable, and the receiver's own.
        transfer: number of the transfer that brought the large ones, whose places here are empty; 0 for none.
    """

    call: int
    seq: int
    ack: int
    message: bytes
    buffers: list[memoryview]
    transfer: int = 0


def encode_frame(
    call: int, seq: int, ack: int, message: bytes, buffers: Sequence[Buffer] = (), transfer: int = 0
) -> list[Buffer]:
    """Return the pieces of a frame, to be sent in order.

    Buffers are C-contiguous. They are referred to, not copied, unless the whole frame is small: they must not
    change until they have left.
    """
    header = HEADER.pack(MAGIC, VERSION, 0, len(message), call, seq, ack, len(buffers), transfer)
    if not buffers:
        return [header + message]
    flat = [b if type(b) is bytes else _flat(b) for b in buffers]
    if len(flat) == 1:  # most calls
        size = len(flat[0])
        table = _LENGTH.pack(size)
    else:
        lengths = list(map(len, flat))
        size = sum(lengths)
        table = b"".join(map(_LENGTH.pack, lengths))
    if size + len(message) <= JOIN:
        return [b"".join((header, message, table, *flat))]
    return [b"".join((header, message, table)), *[b for b in flat if len(b)]]


def _flat(buffer: Buffer) -> Buffer:
    """Return the buffer's bytes, in one dimension (`memoryview.cast` refuses an empty array of more)."""
    view = memoryview(buffer)
    return view.cast("B") if view.nbytes else b""


class Inlet(Protocol):
    """Takes frames out of the stream that are no business of the reader's user; see `rpc_magic.wire.transfers`."""

    def place(self, message: bytes, count: int) -> list[memoryview] | None:
        """Return the memory for the `count` buffers of a frame that are still to come; None where any will do."""

    def take(self, frame: Frame) -> Frame | None:
        """Return what to give for a complete frame; None for nothing."""


class FrameReader:
    """Turns received bytes into frames; not thread-safe.

    Use: receive into ``buffer_to_fill()``, tell how many bytes came by ``filled(n)``, which returns the
        frames that are now complete. After a `ProtocolError` the reader is of no further use.

    Theory of operation. Bytes pass through a small staging area, so that many small frames, or many small
    buffers, cost one system call. Where the final memory is known and much of it is still missing,
    ``buffer_to_fill`` hands out that memory itself (the target): a head that is larger than staging, a large
    buffer. Staging is empty then.

    Args:
        limits: what a frame may hold; checked before memory is taken.
        inlet: takes the frames that bring large buffers ahead; without it no frame may name a transfer.
        last_seq: number of the last frame that an earlier connection has brought.
    """

    def __init__(
        self, limits: WireLimits | None = None, inlet: Inlet | None = None, last_seq: int = 0
    ) -> None:
        self._limits = limits or WireLimits()
        self._inlet = inlet
        self._area = bytearray(_STAGING)
        self._staging = memoryview(self._area)
        self._start = 0  # of the bytes in staging that are not yet parsed
        self._end = 0
        self._head: memoryview | None = None  # header, message and table, when they are larger than staging
        self._open: Frame | None = None  # the frame whose buffers are being filled
        self._index = 0  # of the buffer that is being filled
        self._target: memoryview | None = None  # what is received into in place: the head, or that buffer
        self._at = 0  # bytes that are there of that buffer, or of the head
        self._last_seq = self._arrived = last_seq
        self._held: list[Frame] | None = None  # what has come after a frame whose chunks are lacking
        self._held_bytes = 0

    @property
    def last_seq(self) -> int:
        """Number of the last frame that was given, of those that have one."""
        return self._last_seq

    @property
    def is_between_frames(self) -> bool:
        """True when no part of an unfinished frame has been received."""
        return self._open is None and self._head is None and self._start == self._end

    @property
    def incoming(self) -> tuple[int, int, int]:
        """Call, bytes received and bytes in all of the buffers that are being filled; zeros while none are.

        Any thread may ask; what is told may be a piece behind.
        """
        frame, index, at = self._open, self._index, self._at
        if frame is None:
            return 0, 0, 0
        lengths = [len(buffer) for buffer in frame.buffers]
        return frame.call, sum(lengths[:index]) + at, sum(lengths)

    def buffer_to_fill(self) -> memoryview:
        """Return memory to receive into; never empty."""
        if self._target is not None:
            return self._target[self._at : self._at + _AT_ONCE]
        if self._start == self._end:
            self._start = self._end = 0
            return self._staging
        if self._start and self._end > _STAGING // 2:
            # What waits is the beginning of a head that fits into staging: to the front, so that it does.
            rest = self._end - self._start
            self._staging[:rest] = self._staging[self._start : self._end]
            self._start, self._end = 0, rest
        return self._staging[self._end :]

    def filled(self, n: int) -> list[Frame]:
        """Take note that `n` bytes were received; return the frames that are complete now.

        Raises:
            ProtocolError: the bytes are no frame, over a limit, or more than there is memory for.
        """
        frames: list[Frame] = []
        if self._target is None:
            self._end += n
        else:
            self._at += n
        try:
            while self._parse(frames) if self._open is None else self._pour(frames):
                pass
        except MemoryError as error:
            raise ProtocolError(f"there is no memory for what came: {error}") from error
        return frames

    # ---------------------------------------------- inside; a step returns True when there may be another one

    def _parse(self, frames: list[Frame]) -> bool:
        """Parse one frame's head, and all of the frame when it is there."""
        if self._head is None:
            view, start, end = self._staging, self._start, self._end
        else:
            view, start, end = self._head, 0, self._at
        if end - start < _HEADER_SIZE:
            _check_start(view[start:end])
            return False
        magic, version, flags, length, call, seq, ack, count, transfer = HEADER.unpack_from(view, start)
        if magic != MAGIC or version != VERSION or flags or 0 < seq <= self._arrived:
            _check_start(view[start:end])
            raise ProtocolError(f"a frame has number {seq} after {self._arrived}, or unknown flags")
        if transfer and self._inlet is None:
            raise ProtocolError("a frame names a transfer where there are none")
        if length > self._limits.message or count > self._limits.buffers:
            raise ProtocolError(
                f"a frame with {length:,} bytes of message, {count:,} buffers is over the limit"
            )
        table = start + _HEADER_SIZE + length
        after = table + count * _LENGTH.size
        if end < after:
            if after - start > _STAGING and self._head is None:
                self._take_head(after - start)
            return False
        message = bytes(view[start + _HEADER_SIZE : table])
        if self._head is None:
            self._start = after
        else:
            self._head = self._target = None
        if count:
            return self._take_buffers(frames, Frame(call, seq, ack, message, [], transfer), view[table:after])
        self._give(frames, Frame(call, seq, ack, message, [], transfer))
        return self._start < self._end

    def _take_buffers(self, frames: list[Frame], frame: Frame, table: memoryview) -> bool:
        """Take the frame's buffers out of staging; leave the frame open when they are not all there."""
        is_one = len(table) == _LENGTH.size  # most calls
        lengths = _LENGTH.unpack(table) if is_one else tuple(n for (n,) in _LENGTH.iter_unpack(table))
        size = sum(lengths)
        if size > self._limits.payload:
            raise ProtocolError(f"a frame with {size:,} bytes of buffers is over the limit")
        start = self._start
        if size > self._end - start:
            places = self._inlet.place(frame.message, len(lengths)) if self._inlet is not None else None
            if places is not None and tuple(map(len, places)) != lengths:
                raise ProtocolError("a frame's buffers have not the sizes that its message tells")
            frame.buffers.extend(map(allocate, lengths) if places is None else places)
            self._open, self._index, self._at = frame, 0, 0
            return True
        for n in lengths:
            frame.buffers.append(memoryview(self._area[start : start + n]))
            start += n
        self._start = start
        self._give(frames, frame)
        return start < self._end

    def _give(self, frames: list[Frame], frame: Frame) -> None:
        """Give a complete frame. What follows a frame whose chunks are lacking is given after it: numbers rise."""
        self._arrived = frame.seq or self._arrived
        given = frame if self._inlet is None else self._inlet.take(frame)
        if given is None:
            if frame.transfer:
                self._held = []
        elif self._held is None or not given.seq:
            self._last_seq = given.seq or self._last_seq
            frames.append(given)
        elif given.transfer:
            frames += [given, *self._held]
            self._last_seq = frames[-1].seq
            self._held, self._held_bytes = None, 0
        else:
            self._held.append(given)
            self._held_bytes += _FRAME_SIZE + len(given.message) + sum(map(len, given.buffers))
            if self._held_bytes > self._limits.waiting:
                raise ProtocolError("too much came after a frame whose chunks are lacking")

    def _take_head(self, size: int) -> None:
        """Go on to receive header, message and table, `size` bytes, into memory of their own."""
        waiting = self._staging[self._start : self._end]
        self._head = self._target = memoryview(bytearray(size))
        self._head[: len(waiting)] = waiting
        self._at = len(waiting)
        self._start = self._end = 0

    def _pour(self, frames: list[Frame]) -> bool:
        """Move what is in staging into the buffers of the open frame."""
        frame = self._open
        assert frame is not None
        buffers, index, at, start = frame.buffers, self._index, self._at, self._start
        self._target = None
        while index < len(buffers):
            buffer = buffers[index]
            part = min(len(buffer) - at, self._end - start)
            buffer[at : at + part] = self._staging[start : start + part]
            start += part
            at += part
            missing = len(buffer) - at
            if missing:
                self._index, self._at, self._start = index, at, start
                if missing >= _DIRECT:
                    self._target = buffer
                return False
            index += 1
            at = 0
        self._start, self._open = start, None
        self._give(frames, frame)
        return start < self._end


def _check_start(view: memoryview) -> None:
    """Check what is there of magic and version, so that another protocol is told by its first bytes."""
    if view[:2] != MAGIC[: len(view)]:
        raise ProtocolError("what came is no frame: is the other side rpc_magic?")
    if len(view) > 2 and view[2] != VERSION:
        raise ProtocolError(f"the other side speaks version {view[2]} of the protocol, this one {VERSION}")
