"""Incoming transfers as an attack surface: what lies, does not add up or never comes gives `ProtocolError`, no harm."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import CHUNK, LARGE, Chunk, digest_of
from rpc_magic.wire.held import Block, Blocks, HeldMemories
from rpc_magic.wire.incoming import Incoming, PrivateMemories
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Transfers

LIMIT = 16 * LARGE
LETTERS = [bytes([letter]) * CHUNK for letter in b"abcd"]
needs_blocks = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="sessions run on Linux only")


class Receiver:
    """A receiver with blocks, as a session has them."""

    def __init__(self) -> None:
        self.store = ChunkStore(0)
        self.blocks = Blocks(self.store, 1 << 30)
        self.number = 0

    def begin(self) -> Incoming:
        self.number += 1
        return Incoming(self.number, self.store, HeldMemories(self.blocks), LIMIT)

    def receive(self, chunks: Sequence[bytes]) -> memoryview:
        """Receive a buffer that is sent whole."""
        incoming = self.begin()
        size = sum(map(len, chunks))
        start = 0
        for chunk in chunks:
            incoming.take(parts(chunk, start=start, size=size), [memoryview(chunk)], is_placed=False)
            start += len(chunk)
        (buffer,), _ = incoming.complete([memoryview(b"")])
        return buffer


def parts(*chunks: bytes, start: int = 0, size: int = LARGE, named: bool = False, buffer: int = 0, **changes):
    """Return what tells of chunks; `changes` make it lie."""
    fields = {
        "transfer": 1,
        "buffer": buffer,
        "total": LIMIT,
        "size": size,
        "start": start,
        "sizes": tuple(map(len, chunks)),
        "digests": b"".join(map(digest_of, chunks)),
        "named": (named,) * len(chunks),
    }
    return messages.Parts(**(fields | changes))


def name(incoming: Incoming, message: messages.Parts) -> None:
    incoming.take(message, [], is_placed=False)


@needs_blocks
@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"sizes": (1,)}, id="a part of it"),
        pytest.param({"digests": digest_of(b"another")}, id="another name"),
        pytest.param({"size": LARGE + 1}, id="of another buffer"),
        pytest.param({"named": (True,)}, id="named again"),
        pytest.param({"start": CHUNK}, id="one that was sent"),
    ],
)
def test_what_was_lacking_comes_as_it_was_named(lie: dict) -> None:
    """A chunk that was named and is lacking is taken in its size and under its name only; it is due until then."""
    incoming = Receiver().begin()
    name(incoming, parts(LETTERS[0], named=True))
    for number, letter in enumerate(LETTERS[1:], 1):
        incoming.take(parts(letter, start=number * CHUNK), [memoryview(letter)], is_placed=False)
    incoming.end_naming()
    assert incoming.lacking == ((0, 0),)
    lying = parts(LETTERS[0], **lie)
    data = [] if lying.named[0] else [memoryview(bytes(lying.sizes[0]))]
    with pytest.raises(ProtocolError, match="not due"):
        incoming.take(lying, data, is_placed=False)
    assert incoming.lacking == ((0, 0),)
    incoming.take(parts(LETTERS[0]), [memoryview(LETTERS[0])], is_placed=False)
    assert bytes(incoming.complete([memoryview(b"")])[0][0]) == b"".join(LETTERS)


@needs_blocks
def test_sizes_that_lie_of_a_held_chunk() -> None:
    """A held chunk that is named with more bytes than it has is not found; nothing is read beyond its end."""
    receiver = Receiver()
    receiver.receive([*LETTERS, b"end"])
    incoming = receiver.begin()
    lying = parts(b"end", size=LARGE, named=True, sizes=(CHUNK,))
    name(incoming, lying)
    for number, letter in enumerate(LETTERS[1:], 1):
        name(incoming, parts(letter, start=number * CHUNK, named=True))
    incoming.end_naming()
    assert (0, 0) in incoming.lacking
    with pytest.raises(ProtocolError, match="not due"):
        incoming.take(parts(b"end", size=LARGE), [memoryview(b"end")], is_placed=False)


@needs_blocks
def test_reading_a_block_ends_at_its_end() -> None:
    """Copying out of a block beyond its end, or before its beginning, tells so and returns."""
    block = Block()
    block.add(CHUNK)
    assert block.copy_into(0, memoryview(bytearray(CHUNK)))
    assert not block.copy_into(CHUNK - 1, memoryview(bytearray(2)))
    assert not block.copy_into(-1, memoryview(bytearray(2)))
    block.close()
    assert not block.copy_into(0, memoryview(bytearray(2)))


@needs_blocks
def test_eviction_while_a_message_comes() -> None:
    """A block that goes between the naming of its chunks and the frame's end breaks the transfer, never the content."""
    receiver = Receiver()
    receiver.receive(LETTERS)
    incoming = receiver.begin()
    name(incoming, parts(*LETTERS, named=True))
    assert not incoming.lacking
    (block,) = receiver.blocks._blocks
    block.close()
    with pytest.raises(ProtocolError, match="have been lost"):
        incoming.complete([memoryview(b"")])
    again = receiver.begin()
    name(again, parts(*LETTERS, named=True))
    assert len(again.lacking) == len(LETTERS), "a closed block holds nothing"


@needs_blocks
def test_a_transfer_that_is_given_up_leaves_nothing() -> None:
    """Descriptor and memory of what was begun and never came whole are given back."""

    def files() -> int:
        links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return sum("rpc_magic-chunks" in str(link.readlink()) for link in links)

    before = files()
    blocks = Blocks(ChunkStore(0), 1 << 30)
    transfers = Transfers(ChunkStore(0), LIMIT, lambda: HeldMemories(blocks))
    for number in range(1, 20):
        message = messages.encode(parts(LETTERS[0], transfer=number))
        transfers.place(message, 1)
    del transfers
    assert files() == before


def test_many_tiny_chunks() -> None:
    """More chunks than a grid can have are refused before much is remembered of them."""
    incoming = Incoming(1, ChunkStore(0), PrivateMemories(), LIMIT)
    with pytest.raises(ProtocolError, match="not due"):
        name(incoming, parts(*[b"x"] * 10, named=True))
    size = 8 * CHUNK
    for number in range(8):  # the most that a grid gives: each row ends with a short one
        row = number * CHUNK
        name(incoming, parts(bytes(CHUNK - 1), b"x", start=row, size=size, named=True))
    assert len(incoming.lacking) == 16


def test_digests_to_forget_without_end() -> None:
    """Only chunks that were told of can be forgotten; endless other ones are refused before they take memory."""
    incoming = Incoming(1, ChunkStore(0), PrivateMemories(), LIMIT)
    name(incoming, parts(LETTERS[0], named=True))
    incoming.forget(digest_of(LETTERS[0]))
    with pytest.raises(ProtocolError, match="nobody has told of"):
        incoming.forget(digest_of(b"another"))


def test_what_comes_untold() -> None:
    """Data beside those that were told of are refused."""
    incoming = Incoming(1, ChunkStore(0), PrivateMemories(), LIMIT)
    with pytest.raises(ProtocolError, match="untold"):
        incoming.take(parts(LETTERS[0]), [memoryview(LETTERS[0])] * 2, is_placed=False)


def test_what_is_lacking_is_told_once() -> None:
    """One question gives one answer, so nobody can have the same long list sent again and again."""
    incoming = Incoming(1, ChunkStore(0), PrivateMemories(), LIMIT)
    name(incoming, parts(LETTERS[0], named=True))
    incoming.end_naming()
    with pytest.raises(ProtocolError, match="twice"):
        incoming.end_naming()


def test_the_total_is_no_more_than_the_limit() -> None:
    """What is told of all buffers is shown as progress: never more than may come."""
    incoming = Incoming(1, ChunkStore(0), PrivateMemories(), LIMIT)
    name(incoming, parts(LETTERS[0], named=True, total=1 << 60))
    assert incoming.total == LIMIT
    with pytest.raises(ProtocolError, match="over the limit"):
        name(incoming, parts(LETTERS[0], size=LIMIT, buffer=1, named=True))


def test_memory_is_bounded_by_what_comes() -> None:
    """Sixteen buffers that are only told of take next to no memory."""
    tracemalloc.start()
    try:
        incoming = Incoming(1, ChunkStore(0), PrivateMemories(), LIMIT)
        for number in range(16):
            name(incoming, parts(LETTERS[0], buffer=number, named=True))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert Chunk(0, CHUNK, digest_of(LETTERS[0])) == incoming._buffers[0].chunks[0]
