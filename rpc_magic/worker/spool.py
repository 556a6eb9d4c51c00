"""A session's spool: a file of frames, in which what the client has not received waits for it.

The file has mode 0600 in a private folder and is made when first something is written. It grows at its end and is
emptied when nothing in it is wanted any more, which is soon after the client is back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rpc_magic.settings import WireLimits
from rpc_magic.wire.frames import Buffer, Frame, FrameReader, encode_frame

__all__ = ["Place", "Spool"]

_PIECES = 256  # in one writev; IOV_MAX is 1024, and a longer call gains nothing


class Place(NamedTuple):
    """Where a frame lies in the file: its first byte, and how many it has."""

    start: int
    size: int


class Spool:
    """See the module's text. Not thread-safe.

    Args:
        path: of the file.
        limit: bytes over which output is not taken; what ends a call always is.

    Attributes:
        trouble: why the file could not be written the last time, empty when it could.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._file = -1
        self._end = 0
        self._wanted = 0  # frames
        self.trouble = ""

    def write(
        self, call: int, number: int, message: bytes, buffers: Sequence[Buffer], *, is_output: bool
    ) -> Place | None:
        """Append a frame; None when it is not taken, because the file or the disk is full."""
        pieces = [memoryview(piece).cast("B") for piece in encode_frame(call, number, 0, message, buffers)]
        place = Place(self._end, sum(map(len, pieces)))
        if is_output and self._end + place.size > self._limit:
            return None
        try:
            if self._file < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            self._write(pieces, place.start)
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return None  # what was written of it is written over by the next one
        self._end += place.size
        self._wanted += 1
        return place

    def _write(self, pieces: list[memoryview], at: int) -> None:
        while pieces:
            written = os.pwritev(self._file, pieces[:_PIECES], at)
            at += written
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.pop(0))
            if written:
                pieces[0] = pieces[0][written:]

    def read(self, place: Place) -> Frame:
        """Return a frame.

        Raises:
            OSError: the file cannot be read.
        """
        reader = FrameReader(WireLimits())
        at, end = place.start, place.start + place.size
        frames: list[Frame] = []
        while not frames and at < end:
            count = os.preadv(self._file, [reader.buffer_to_fill()[: end - at]], at)
            if not count:
                raise OSError("the spool file is shorter than it was")
            at += count
            frames = reader.filled(count)
        return frames[0]

    def release(self) -> None:
        """One frame is no longer wanted; the file is emptied with the last one."""
        self._wanted -= 1
        if not self._wanted:
            self._end = 0
            os.ftruncate(self._file, 0)
