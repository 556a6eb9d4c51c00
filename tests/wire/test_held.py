"""Blocks: what is held never changes, is shared without a copy, and goes when there is too much of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rpc_magic.wire.chunks import CHUNK, Chunk, digest_of
from rpc_magic.wire.held import Blocks, HeldMemories
from rpc_magic.wire.incoming import Origin
from rpc_magic.wire.store import ChunkStore

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="sessions run on Linux only")


def held(store: ChunkStore, blocks: Blocks, content: bytes) -> tuple[memoryview, Chunk]:
    """Hold one chunk; return what the object would be made on, and the chunk."""
    memories = HeldMemories(blocks)
    memory = memories.make(len(content), None)
    memory.view[:] = content
    chunk = Chunk(0, len(content), digest_of(content))
    view = memory.finish([chunk], store)
    memories.finish()
    return view, chunk


def copied(store: ChunkStore, chunk: Chunk) -> bytes | None:
    """Return a chunk's content as the store finds it."""
    target = bytearray(chunk.size)
    return bytes(target) if store.copy(chunk.digest, memoryview(target)) else None


def test_what_is_held_does_not_change() -> None:
    """User code writes into its own copy of a page; the next object made of the same content has the old one."""
    store = ChunkStore(0)
    blocks = Blocks(store, 1 << 30)
    view, chunk = held(store, blocks, b"a" * CHUNK)
    view[:5] = b"12345"
    assert copied(store, chunk) == b"a" * CHUNK
    source, offset = store.find(chunk.digest) or pytest.fail("it is not there")
    again = HeldMemories(blocks).share(source, offset, CHUNK)
    assert again is not None
    assert bytes(again) == b"a" * CHUNK
    again[:] = b"z" * CHUNK
    assert bytes(view[:6]) == b"12345a"


def test_the_oldest_goes_first() -> None:
    """Above the limit the block that was used longest ago goes; objects on it keep their memory."""
    store = ChunkStore(0)
    blocks = Blocks(store, 2 * CHUNK)
    views = [held(store, blocks, bytes([letter]) * CHUNK) for letter in b"abc"]
    assert copied(store, views[0][1]) is None
    assert copied(store, views[2][1]) == b"c" * CHUNK
    assert bytes(views[0][0]) == b"a" * CHUNK
    assert blocks.size == 2 * CHUNK
    source, offset = store.find(views[1][1].digest) or pytest.fail("it is not there")
    HeldMemories(blocks).share(source, offset, CHUNK)
    held(store, blocks, b"d" * CHUNK)
    assert copied(store, views[1][1]) == b"b" * CHUNK, "it was used since"
    assert copied(store, views[2][1]) is None


def test_nothing_is_shared_that_is_no_whole_buffer() -> None:
    """A place between two pages, or beyond the end, gives no mapping."""
    store = ChunkStore(0)
    blocks = Blocks(store, 1 << 30)
    _, chunk = held(store, blocks, b"a" * CHUNK)
    source, _ = store.find(chunk.digest) or pytest.fail("it is not there")
    memories = HeldMemories(blocks)
    assert memories.share(source, 100, CHUNK - 100) is None
    assert memories.share(source, 0, CHUNK + 1) is None


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_memory_and_descriptors_are_given_back() -> None:
    """Views that are gone leave no mapping, blocks that are gone leave no descriptor."""

    def counted() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text().count("rpc_magic-chunks")
        files = sum("rpc_magic-chunks" in str(f.readlink()) for f in _descriptors())
        return maps, files

    before = counted()
    store = ChunkStore(0)
    blocks = Blocks(store, 3 * CHUNK)
    for number in range(50):
        held(store, blocks, number.to_bytes(2, "big") * (CHUNK // 2))
    maps, files = counted()
    assert maps == before[0]
    assert files == before[1] + 3


def _descriptors() -> list[Path]:
    return [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]


def test_what_differs_alone_takes_memory() -> None:
    """A buffer that is like one that is held shares its pages; the chunk that differs is held in a block of its own."""
    store = ChunkStore(0)
    blocks = Blocks(store, 1 << 30)
    memories = HeldMemories(blocks)
    content = bytes([1]) * CHUNK + bytes([2]) * CHUNK
    memory = memories.make(len(content), None)
    memory.view[:] = content
    chunks = [Chunk(i * CHUNK, CHUNK, digest_of(content[i * CHUNK :][:CHUNK])) for i in range(2)]
    memory.finish(chunks, store)
    memories.finish()
    source, base = store.find(chunks[0].digest) or pytest.fail("it is not there")
    memories = HeldMemories(blocks)
    like_it = memories.make(len(content), Origin(source, base))
    assert like_it.is_on_origin
    like_it.view[CHUNK:] = bytes([3]) * CHUNK
    other = Chunk(CHUNK, CHUNK, digest_of(bytes([3]) * CHUNK))
    assert like_it.finish([chunks[0], other], store) == bytes([1]) * CHUNK + bytes([3]) * CHUNK
    memories.finish()
    assert blocks.size == 3 * CHUNK
    assert copied(store, other) == bytes([3]) * CHUNK
    assert copied(store, chunks[1]) == bytes([2]) * CHUNK
