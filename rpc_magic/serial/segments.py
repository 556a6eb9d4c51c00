"""A pickle stream as a list of segments: large bytes stay where they are.

The C pickler writes a bytes, bytearray or str object of 64 KiB or more by handing the object itself to its
file. A file that only keeps what it is handed thus copies nothing. Small segments are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = ["Buffer", "SegmentReader", "SegmentSink", "join_small"]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes in memory, perhaps somebody else's."""

_BY_REFERENCE = 1 << 18
"""Bytes from which on a segment stays by itself; frames of the C pickler are a little over 64 KiB."""

_JOINED = 1 << 20
"""Bytes at which a joined segment is closed, so that joining takes little memory at a time."""


class SegmentSink:
    """A file for a pickler that keeps what is written, in order."""

    __slots__ = ("segments", "write")

    def __init__(self) -> None:
        self.segments: list[Buffer] = []
        self.write = self.segments.append


def join_small(segments: list[Buffer]) -> list[Buffer]:
    """Join runs of small segments.

    Args:
        segments: a stream's segments; emptied.
    """
    if len(segments) == 1:
        return segments
    result: list[Buffer] = []
    run: list[Buffer] = []
    size = 0
    segments.reverse()
    while segments:
        segment = segments.pop()
        is_large = len(segment) >= _BY_REFERENCE
        if run and (is_large or size >= _JOINED):
            result.append(b"".join(run))
            run, size = [], 0
        if is_large:
            result.append(segment)
        else:
            run.append(segment)
            size += len(segment)
    if run:
        result.append(b"".join(run))
    return result


class SegmentReader:
    """A file for an unpickler over the segments of a stream.

    Args:
        segments: at least one.
    """

    def __init__(self, segments: Sequence[Buffer]) -> None:
        self._waiting = [memoryview(s).cast("B") for s in reversed(segments) if len(s)]
        self._view = self._waiting.pop() if self._waiting else memoryview(b"")
        self._position = 0

    def read(self, size: int) -> Any:
        """Return the next `size` bytes, fewer at the end."""
        end = self._position + size
        if end <= len(self._view):
            part = self._view[self._position : end]
            self._position = end
            return part
        target = bytearray(size)
        del target[self.readinto(target) :]
        return target

    def readinto(self, target: Buffer) -> int:
        """Fill a buffer; return how many bytes there were for it."""
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view):
            if self._position == len(self._view):
                if not self._waiting:
                    break
                self._view, self._position = self._waiting.pop(), 0
            part = self._view[self._position : self._position + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    def readline(self) -> bytes:
        """Return the bytes up to and including the next newline (opcodes of old protocols use it)."""
        line = bytearray()
        while True:
            byte = self.read(1)
            line += byte
            if not byte or byte == b"\n":
                return bytes(line)
