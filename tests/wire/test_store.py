"""Chunks in the program's own memory: found while it is there and unchanged, and never held against its user."""

from __future__ import annotations

import gc
import mmap
import weakref
from typing import Any

import numpy as np

from rpc_magic.wire.chunks import CHUNK, Chunk, digest_of, flat, spans
from rpc_magic.wire.store import ChunkStore


def chunks_of(buffer: Any) -> list[Chunk]:
    """Return the chunks of a buffer."""
    view = flat(buffer)
    return [Chunk(start, size, digest_of(view[start : start + size])) for start, size in spans(view)]


def copied(store: ChunkStore, chunk: Chunk) -> bytes | None:
    """Return a chunk's content as the store finds it."""
    target = bytearray(chunk.size)
    return bytes(target) if store.copy(chunk.digest, memoryview(target)) else None


def numbers() -> np.ndarray:
    """Half a megabyte that differs everywhere, as a column of a table is."""
    return np.arange(CHUNK // 4, dtype="i8").reshape(1, -1)


def test_memory_is_found_until_it_changes() -> None:
    """A changed chunk is not found any more; its neighbour still is."""
    array = numbers()
    store = ChunkStore(0)
    first, second = chunks_of(array)
    store.note_memory(memoryview(array), [first, second])
    assert copied(store, second) == array.tobytes()[CHUNK:]
    array[0, 0] = -1
    assert copied(store, first) is None
    assert store.find(first.digest) is None, "it is forgotten, not looked for again"
    assert copied(store, second) == array.tobytes()[CHUNK:]


def test_memory_is_not_held() -> None:
    """It goes when its user lets go of it; a small array that its user may resize is not even referred to."""
    store = ChunkStore(1 << 30)
    array = numbers()
    chunk, _ = noted = chunks_of(array)
    store.note_memory(memoryview(array), noted)
    gone = weakref.ref(array)
    del array
    gc.collect()
    assert gone() is None
    assert copied(store, chunk) is None
    array = np.arange(CHUNK // 4, dtype="i8")
    store.note_memory(memoryview(array), noted)
    array.resize(3)


def test_the_owner_outlives_what_was_made_for_the_moment() -> None:
    """A transposed array that pickle made leads to the array of the user; a part is found as long as it lives."""
    store = ChunkStore(0)
    array = np.asfortranarray(np.arange(CHUNK // 4, dtype="i8").reshape(2, -1))
    for_the_moment = array.T
    noted = chunks_of(memoryview(for_the_moment))
    store.note_memory(memoryview(for_the_moment), noted)
    del for_the_moment
    gc.collect()
    assert copied(store, noted[0]) == array.T.tobytes()[:CHUNK]
    part = np.arange(CHUNK, dtype="i8")[: CHUNK // 8]  # a view, which cannot be resized
    noted = chunks_of(memoryview(part))
    store.note_memory(memoryview(part), noted)
    assert copied(store, noted[0]) == part.tobytes()
    del part
    gc.collect()
    assert copied(store, noted[0]) is None


def test_memory_without_another_owner_is_held_within_the_limit() -> None:
    """The newest bytes are there though nobody else has them; older ones have gone, and a bytearray is let alone."""
    store = ChunkStore(2 * CHUNK)
    noted = []
    for letter in b"abc":
        buffer = bytes([letter]) * CHUNK
        noted += chunks_of(buffer)
        store.note_memory(buffer, noted[-1:])
        del buffer
    pages = mmap.mmap(-1, CHUNK)
    pages.write(b"p" * CHUNK)
    store.note_memory(memoryview(pages), chunks_of(memoryview(pages)))
    assert copied(store, noted[2]) == b"c" * CHUNK
    gone = weakref.ref(pages)
    del pages
    gc.collect()
    assert gone() is not None
    for letter in b"def":
        store.note_memory(bytes([letter]) * CHUNK, [])
    gc.collect()
    assert gone() is None
    array = bytearray(b"x" * CHUNK)
    store.note_memory(array, chunks_of(bytes(array)))
    assert copied(store, chunks_of(bytes(array))[0]) is None
    array.extend(b"y")
