"""The end of what a session's code has printed, in memory that its keeper reads once the process has died.

What is printed leaves in batches, a moment later (`rpc_magic.worker.output`); a process that dies takes along what
waits. So each text is put here as well: into the first of two rings until it has been sent, and what was an error's,
sent or not, into the second until the next call. The memory is the status page's, beyond its words. The worker writes
from any thread and without a lock: threads that write at the same moment may spoil each other's last words, no more.
"""

from __future__ import annotations

import mmap
from struct import Struct

from rpc_magic.wire import internal

__all__ = ["LastWords"]

_COUNT, _COUNTS = Struct("=Q"), Struct("=QQ")


class LastWords:
    """The two rings, mapped.

    Args:
        descriptor: of the shared memory, not kept; -1 for memory of this process alone.
    """

    __slots__ = ("_sent", "_unsent")

    def __init__(self, descriptor: int = -1) -> None:
        page = mmap.mmap(descriptor, internal.PAGE_SIZE + 2 * internal.WORDS_SIZE)
        self._unsent = _Ring(page, internal.PAGE_SIZE)
        self._sent = _Ring(page, internal.PAGE_SIZE + internal.WORDS_SIZE)

    def begin(self) -> None:
        """Worker: a call begins; what was said before explains nothing of what happens now."""
        self._sent.forget(self._sent.written)

    def add(self, text: str) -> None:
        """Worker: a text waits to be sent."""
        self._unsent.add(text)

    def waiting(self) -> int:
        """Worker: return a mark for `leave`: what has been added until now."""
        return self._unsent.written

    def leave(self, mark: int, errors: str) -> None:
        """Worker: all that was added before the mark has been sent; `errors` of it was standard error's."""
        self._unsent.forget(mark)
        if errors:
            self._sent.add(errors)

    def read(self) -> bytes:
        """Keeper: return the last words, at most some kilobytes."""
        return self._sent.read() + self._unsent.read()


class _Ring:
    """The last bytes of what was added: two counters, of what is forgotten and of all, and then the bytes."""

    __slots__ = ("_at", "_page", "_size", "written")

    def __init__(self, page: mmap.mmap, at: int) -> None:
        self._page, self._at = page, at + _COUNTS.size
        self._size = internal.WORDS_SIZE - _COUNTS.size
        self.written = 0

    def add(self, text: str) -> None:
        data = text[-self._size :].encode("utf-8", "backslashreplace")[-self._size :]
        place = self.written % self._size
        head = min(len(data), self._size - place)
        self._page[self._at + place : self._at + place + head] = data[:head]
        self._page[self._at : self._at + len(data) - head] = data[head:]
        self.written += len(data)
        _COUNT.pack_into(self._page, self._at - _COUNT.size, self.written)

    def forget(self, mark: int) -> None:
        _COUNT.pack_into(self._page, self._at - _COUNTS.size, mark)

    def read(self) -> bytes:
        forgotten, written = _COUNTS.unpack_from(self._page, self._at - _COUNTS.size)
        count = min(written - forgotten, self._size)
        if count <= 0:
            return b""
        place = (written - count) % self._size
        data = self._page[self._at : self._at + self._size]
        return (data[place:] + data[:place])[:count]
