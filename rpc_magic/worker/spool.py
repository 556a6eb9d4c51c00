"""A session's spool: a file of frames, in which what the client has not received waits for it.

The keeper makes the file, with mode 0600 in a private folder, before it forks the worker; it has no name from then on,
and is gone with the last process that holds it, however that ends. The keeper holds it beside the worker, for the time
after the session's death (`rpc_magic.wire.spooled`). It grows at its end and is emptied when nothing in it is wanted
any more, which is soon after the client is back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rpc_magic.settings import WireLimits
from rpc_magic.wire.frames import Buffer, Frame, FrameReader, encode_frame

__all__ = ["Place", "Spool", "make_file", "read_frame"]

_PIECES = 256  # in one writev; IOV_MAX is 1024, and a longer call gains nothing


def make_file(path: Path) -> int:
    """Make a spool's file; return its descriptor, -1 when it cannot be made."""
    try:
        path.unlink(missing_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        path.unlink()
    except OSError:
        return -1
    return file


class Place(NamedTuple):
    """Where a frame lies in the file: its first byte, and how many it has."""

    start: int
    size: int


def read_frame(file: int, place: Place) -> Frame:
    """Return the frame that lies there in a spool's file.

    Raises:
        OSError: the file cannot be read.
        ProtocolError: it is no frame, or there is no memory for it.
    """
    reader = FrameReader(WireLimits())
    at, end = place.start, place.start + place.size
    frames: list[Frame] = []
    while not frames and at < end:
        count = os.preadv(file, [reader.buffer_to_fill()[: end - at]], at)
        if not count:
            raise OSError("the spool file is shorter than it was")
        at += count
        frames = reader.filled(count)
    return frames[0]


class Spool:
    """See the module's text. Not thread-safe.

    Args:
        file: its descriptor, which is the spool's from then on; -1 when it could not be made.
        limit: bytes over which output is not taken; what ends a call always is.

    Attributes:
        wanted: frames that are.
        trouble: why the file could not be written the last time, empty when it could.
    """

    def __init__(self, file: int, limit: int) -> None:
        self._file, self._limit = file, limit
        self._end = 0
        self.wanted = 0
        self.trouble = "" if file >= 0 else "it could not be made when the session began"

    def write(
        self, call: int, number: int, message: bytes, buffers: Sequence[Buffer], *, is_output: bool
    ) -> Place | None:
        """Append a frame; None when it is not taken, because the file or the disk is full."""
        pieces = [memoryview(piece).cast("B") for piece in encode_frame(call, number, 0, message, buffers)]
        place = Place(self._end, sum(map(len, pieces)))
        if is_output and self._end + place.size > self._limit:
            return None
        if not self._append(pieces):
            return None
        self._end += place.size
        self.wanted += 1
        return place

    def note(self, call: int, message: bytes) -> None:
        """Append what nobody in the session will read: it is for those who come after it. See `write` for the rest."""
        if not self.wanted:
            self.empty()
        pieces = [memoryview(piece).cast("B") for piece in encode_frame(call, 0, 0, message)]
        size = sum(map(len, pieces))
        if self._append(pieces):
            self._end += size

    def _append(self, pieces: list[memoryview]) -> bool:
        if self._file < 0:
            return False
        try:
            self._write(pieces, self._end)
        except OSError as error:
            self.trouble = error.strerror or str(error)
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)  # nothing is half there
            return False
        return True

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
        return read_frame(self._file, place)

    def release(self) -> bool:
        """One frame is no longer wanted; with the last one the file is emptied. Tell whether it was."""
        self.wanted -= 1
        if not self.wanted:
            self.empty()
        return not self.wanted

    def empty(self) -> None:
        """Forget all that is there; nothing in it is wanted."""
        if self._end:
            self._end = 0
            os.ftruncate(self._file, 0)
