"""The chunks that one side of a connection can find again, by digest.

Two kinds of memory hold them. What this side has *sent*, or has received into memory of its own, is looked up where it
lies: the program goes on using that memory, and may change or free it, so a chunk found there is copied and its
digest checked, and what is not there any more is simply not found. What a session has *received* lies in blocks
(`rpc_magic.wire.held`) that nobody changes.

A chunk that is not found is sent again: nothing rests on what is here.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Protocol

from rpc_magic.wire.chunks import Chunk, digest_of, flat
from rpc_magic.wire.frames import Buffer

__all__ = ["ChunkStore", "Source"]

_ENTRIES = 1 << 17
"""Chunks that are remembered; the oldest is forgotten first. About 20 MB when full, for 32 GiB of memory."""

_REFERRED_TO = 8 << 20
"""Bytes from which on an array that could be resized in place is referred to: sending it again would cost more."""


class Source(Protocol):
    """Memory in which chunks lie."""

    def holds(self, offset: int, digest: bytes, size: int) -> bool:
        """Tell whether a chunk of that size certainly lies at `offset`, where nobody changes it."""

    def copy_into(self, offset: int, target: memoryview) -> bool:
        """Copy what lies at `offset`; False when it is not there any more."""


class ChunkStore:
    """See the module's text. Thread-safe.

    Args:
        held: bytes of memory without another owner that are held so that chunks can be found in it.
    """

    def __init__(self, held: int) -> None:
        self._limit = held
        self._entries: OrderedDict[bytes, tuple[Source, int]] = OrderedDict()
        self._kept: OrderedDict[int, tuple[object, int]] = OrderedDict()  # by id, so that each is kept once
        self._kept_bytes = 0
        self._lock = threading.RLock()

    def note(self, source: Source, chunks: Iterable[Chunk], base: int = 0) -> None:
        """Remember that chunks lie in `source`, whose byte `base` is the first of their buffer."""
        with self._lock:
            entries = self._entries
            for start, _, digest in chunks:
                if (
                    digest not in entries or entries[digest][0] is not source
                ):  # the first of equal ones counts
                    entries[digest] = source, base + start
                entries.move_to_end(digest)
            while len(entries) > _ENTRIES:
                entries.popitem(last=False)

    def note_memory(self, buffer: Buffer, chunks: Iterable[Chunk]) -> None:
        """Remember chunks in memory of this program, for as long as it exists and holds them."""
        owner = _owner_of(buffer)
        if owner is None:
            return
        if isinstance(owner, (bytes, mmap.mmap)) or type(owner).__module__.startswith("pyarrow"):
            self._keep(owner, memoryview(buffer).nbytes)
        self.note(_Memory(owner), chunks)

    def _keep(self, owner: object, size: int) -> None:
        """Keep memory that its user may have no more use for, within the limit."""
        with self._lock:
            if size > self._limit or id(owner) in self._kept:
                return
            self._kept[id(owner)] = owner, size
            self._kept_bytes += size
            while self._kept_bytes > self._limit:
                self._kept_bytes -= self._kept.popitem(last=False)[1][1]

    def find(self, digest: bytes) -> tuple[Source, int] | None:
        """Return where a chunk may lie."""
        return self._entries.get(digest)

    def copy(self, digest: bytes, target: memoryview) -> bool:
        """Copy a chunk; False when it is not here."""
        found = self._entries.get(digest)
        if found is None:
            return False
        source, offset = found
        if source.copy_into(offset, target) and digest_of(target) == digest:
            return True
        self.forget([digest])
        return False

    def forget(self, digests: Iterable[bytes], source: Source | None = None) -> None:
        """Forget chunks; with `source`, those that lie there only."""
        with self._lock:
            for digest in digests:
                found = self._entries.get(digest)
                if found is not None and (source is None or found[0] is source):
                    del self._entries[digest]


class _Memory:
    """Memory of this program: found through its owner, which is not held."""

    __slots__ = ("_owner", "_reference")

    def __init__(self, owner: Any) -> None:
        self._owner, self._reference = None, None
        try:
            self._reference = weakref.ref(owner)
        except TypeError:  # immutable memory without weak references: bytes, a buffer of Arrow's
            self._owner = owner

    def holds(self, _offset: int, _digest: bytes, _size: int) -> bool:
        return False  # it is the program's, which may do with it what it likes

    def copy_into(self, offset: int, target: memoryview) -> bool:
        owner = self._reference() if self._reference is not None else self._owner
        if owner is None:
            return False
        try:
            memory = _memory_of(owner)
            if offset + len(target) > memory.nbytes:
                return False
            target[:] = memory[offset : offset + len(target)]
        except (BufferError, ValueError, TypeError):  # it was changed into something else, or closed
            return False
        return True


def _memory_of(owner: Any) -> memoryview:
    """Return all bytes of an object, in the order in which they lie."""
    view = memoryview(owner)
    return flat(view if view.c_contiguous else memoryview(owner.T))


def _owner_of(buffer: Buffer) -> Any:
    """Return the object whose whole memory a buffer is; None when it is a part of something larger.

    An array made for the moment, as for pickling, leads to the one that lasts.
    """
    view = memoryview(buffer)
    owner: Any = view.obj
    if isinstance(owner, bytearray):  # its user may want to resize it, and it cannot be referred to weakly
        return None
    while True:
        base = getattr(owner, "base", None) if hasattr(owner, "strides") else None
        if isinstance(base, memoryview):
            base = base.obj
        if base is None or isinstance(base, bytearray) or _size_of(base) != view.nbytes:
            break
        if _may_be_resized(base) and view.nbytes < _REFERRED_TO:
            break  # the view of it will do, as long as it lives
        owner = base
    if _size_of(owner) != view.nbytes or (_may_be_resized(owner) and view.nbytes < _REFERRED_TO):
        return None
    return owner


def _may_be_resized(owner: Any) -> bool:
    """Tell whether an array can change its size in place, which numpy refuses once there is a weak reference to it."""
    flags = getattr(owner, "flags", None)
    return bool(getattr(flags, "owndata", False)) and getattr(owner, "ndim", 0) == 1


def _size_of(owner: Any) -> int:
    try:
        return memoryview(owner).nbytes
    except (TypeError, ValueError, BufferError):
        return -1
