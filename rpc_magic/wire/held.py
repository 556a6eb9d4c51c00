"""Blocks: memory that a session receives large buffers into and holds, to share it with what is made of it.

A block is a memory file. What is received is written into it; the object that is made gets a private mapping of it,
whose pages are the file's until user code writes to them. So holding a block costs no memory while the object lives as
it came, an object made of the same content again costs nothing but a mapping, and nobody can change what is held.

Linux only (memfd_create), as servers are. Python's own mmap would keep a descriptor open for each mapping, hence
ctypes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections import OrderedDict

from rpc_magic.wire.chunks import Chunk
from rpc_magic.wire.incoming import Memory, Origin, PrivateMemories
from rpc_magic.wire.store import ChunkStore, Source

__all__ = ["Block", "Blocks", "HeldMemories"]

_PAGE = mmap.PAGESIZE
_BLOCKS = 256
"""Blocks at most: each needs a file descriptor."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_INT = ctypes.c_int
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, _INT, _INT, _INT, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def _map(descriptor: int, offset: int, size: int, flags: int) -> memoryview:
    """Map a part of a file; it is unmapped when the last view of it goes."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    address = _LIBC.mmap(None, size, protection, flags, descriptor, offset)
    if address == _FAILED or address is None:
        raise MemoryError(f"no memory for a buffer of {size:,} bytes: {os.strerror(ctypes.get_errno())}")
    pages = (ctypes.c_char * size).from_address(address)
    weakref.finalize(pages, _LIBC.munmap, address, size).atexit = False
    return memoryview(pages).cast("B")


class Block:
    """A memory file with the buffers of one transfer; a source of chunks.

    It is closed when it is told to, or when nobody refers to it: one that was begun and given up leaves nothing.

    Attributes:
        size: bytes.
        chunks: digest and size of what lies in it, by offset.
    """

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("rpc_magic-chunks", os.MFD_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._close.atexit = False
        self.size = 0
        self.chunks: dict[int, tuple[bytes, int]] = {}

    @property
    def digests(self) -> list[bytes]:
        """Digests of what lies in it."""
        return [digest for digest, _ in self.chunks.values()]

    def add(self, size: int) -> tuple[int, memoryview]:
        """Make room for a buffer; return its offset and its memory, to be written to until the block is finished."""
        offset = self.size
        self.size = offset + -(-size // _PAGE) * _PAGE
        os.ftruncate(self._descriptor, self.size)
        return offset, _map(self._descriptor, offset, size, mmap.MAP_SHARED)

    def view(self, offset: int, size: int) -> memoryview:
        """Return a writable copy of what lies at `offset`, which shares its pages until they are written to."""
        return _map(self._descriptor, offset, size, mmap.MAP_PRIVATE)

    def holds(self, offset: int, digest: bytes, size: int) -> bool:
        """Tell whether a chunk of that size lies at `offset`."""
        return self.chunks.get(offset) == (digest, size) and not self.is_closed

    def copy_into(self, offset: int, target: memoryview) -> bool:
        """Copy what lies at `offset`; False when that is not all there, or the block is closed."""
        if self.is_closed or offset < 0:
            return False
        done = 0
        while done < len(target):
            count = os.preadv(self._descriptor, [target[done:]], offset + done)
            if not count:
                return False
            done += count
        return True

    @property
    def is_closed(self) -> bool:
        """True after `close`."""
        return not self._close.alive

    def close(self) -> None:
        """Let the memory go that nobody else has mapped."""
        self._close()


class Blocks:
    """The blocks of a session; the one not used for longest goes first. Thread-safe.

    Args:
        store: knows the chunks in them.
        limit: bytes of all blocks together.
    """

    def __init__(self, store: ChunkStore, limit: int) -> None:
        self._store, self._limit = store, limit
        self._blocks: OrderedDict[Block, None] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of all blocks together."""
        return self._size

    def add(self, block: Block) -> None:
        """Hold a block that has been filled."""
        with self._lock:
            self._blocks[block] = None
            self._size += block.size
            while self._blocks and (self._size > self._limit or len(self._blocks) > _BLOCKS):
                oldest, _ = self._blocks.popitem(last=False)
                self._size -= oldest.size
                self._store.forget(oldest.digests, oldest)
                oldest.close()

    def use(self, block: Block) -> None:
        """Note that a block was used: it stays longer."""
        with self._lock:
            if block in self._blocks:
                self._blocks.move_to_end(block)


class HeldMemories:
    """Puts the buffers of one transfer together in a block of their own; see `rpc_magic.wire.incoming.Memories`.

    Args:
        blocks: hold it afterwards.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._block: Block | None = None

    def make(self, size: int, origin: Origin | None) -> Memory:
        """Return memory for a buffer; one that is like what is held begins as a copy of it that shares its pages."""
        if self._block is None:
            try:
                self._block = Block()
            except OSError:  # no descriptor is left: it is not held
                return PrivateMemories().make(size, origin)
        view = self.share(*origin, size) if origin is not None else None
        if origin is None or view is None:
            return _HeldMemory(self._block, size)
        return _ChangedCopy(self._block, view, origin)

    def share(self, source: Source, base: int, size: int) -> memoryview | None:
        """Return a private mapping of a buffer that is held as a whole."""
        is_inside = isinstance(source, Block) and base >= 0 and base + size <= source.size
        if not isinstance(source, Block) or not is_inside or base % _PAGE or source.is_closed:
            return None
        self._blocks.use(source)
        return source.view(base, size)

    def finish(self) -> None:
        """Hold the block."""
        if self._block is not None:
            self._blocks.add(self._block)


class _HeldMemory:
    """Memory of one buffer in a block."""

    is_on_origin = False

    def __init__(self, block: Block, size: int) -> None:
        self._block, self._size = block, size
        self._offset, self.view = block.add(size)

    def finish(self, chunks: list[Chunk], store: ChunkStore) -> memoryview:
        """Remember the chunks; return a private mapping."""
        self._block.chunks.update((self._offset + start, (digest, size)) for start, size, digest in chunks)
        store.note(self._block, chunks, self._offset)
        self.view = memoryview(b"")
        return self._block.view(self._offset, self._size)


class _ChangedCopy:
    """A copy of what another block holds, of which only what differs takes memory, and is held in the new block."""

    is_on_origin = True

    def __init__(self, block: Block, view: memoryview, origin: Origin) -> None:
        self._block, self._origin, self.view = block, origin, view

    def finish(self, chunks: list[Chunk], store: ChunkStore) -> memoryview:
        """Hold the chunks that the origin does not; return the copy."""
        for chunk in chunks:
            if not self._origin.holds(chunk):
                offset, memory = self._block.add(chunk.size)
                memory[:] = self.view[chunk.start : chunk.start + chunk.size]
                self._block.chunks[offset] = chunk.digest, chunk.size
                store.note(self._block, [chunk._replace(start=0)], offset)
        return self.view
