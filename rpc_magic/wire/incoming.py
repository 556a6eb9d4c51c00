"""Puts the large buffers of an incoming transfer together, from what is sent and what is here already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import CHUNK, DIGEST_SIZE, LARGE, Chunk
from rpc_magic.wire.memory import allocate
from rpc_magic.wire.packing import unpack_into
from rpc_magic.wire.store import ChunkStore, Source

__all__ = ["Incoming", "Memories", "Memory", "PrivateMemories"]


class Memory(Protocol):
    """Memory that one buffer is put together in.

    Attributes:
        view: to be written to.
    """

    view: memoryview

    def finish(self, chunks: list[Chunk], store: ChunkStore) -> memoryview:
        """All is there: remember its chunks, and return what the object is made on."""


class Memories(Protocol):
    """Gives memory to the buffers of one transfer."""

    def make(self, size: int) -> Memory:
        """Return memory for a buffer."""

    def share(self, source: Source, base: int, size: int) -> memoryview | None:
        """Return a buffer that lies in `source` as a whole, without a copy; None where that cannot be."""

    def finish(self) -> None:
        """All buffers of the transfer are finished."""


class PrivateMemories:
    """Memory that belongs to the objects alone."""

    class _Private:
        def __init__(self, size: int) -> None:
            self.view = allocate(size)

        def finish(self, chunks: list[Chunk], store: ChunkStore) -> memoryview:
            store.note_memory(self.view, chunks)
            return self.view

    def make(self, size: int) -> Memory:
        """Return memory for a buffer."""
        return self._Private(size)

    def share(self, source: Source, base: int, size: int) -> memoryview | None:  # noqa: ARG002  # see `Memories`
        """Nothing is shared."""
        return None

    def finish(self) -> None:
        """Nothing is left to do."""


class _Buffer:
    """An incoming buffer.

    Attributes:
        size: bytes.
        filled: bytes that have been told of, from its beginning.
        chunks: these.
        origin: where all of that lies in one piece already, while that is so: a source, and the place of its beginning.
        memory: what it is put together in; None while it is not needed.
    """

    def __init__(self, size: int) -> None:
        self.size, self.filled = size, 0
        self.chunks: list[Chunk] = []
        self.origin: tuple[Source, int] | None = None
        self.memory: Memory | None = None


class Incoming:
    """A transfer that is being received.

    Args:
        number: the transfer's.
        store: where chunks that are named are looked for.
        memories: what the buffers are put together in.
        limit: bytes of all its buffers.

    Attributes:
        done, total: bytes that were told of, and bytes of all its buffers.
    """

    def __init__(self, number: int, store: ChunkStore, memories: Memories, limit: int) -> None:
        self.number = number
        self._store, self._memories, self._limit = store, memories, limit
        self.done = self.total = 0
        self._buffers: dict[int, _Buffer] = {}
        self._lacking: dict[tuple[int, int], int] = {}  # by buffer and start: the chunk's number
        self._forgotten: set[bytes] = set()
        self._are_all_named = False

    def places(self, message: messages.Parts) -> list[memoryview]:
        """Return the memory of the chunks that come with a message.

        Raises:
            ProtocolError: it does not fit to what came before.
        """
        view = self._memory(message.buffer, self._check(message)).view
        return [view[start : start + size] for start, size, _, is_named in _layout(message) if not is_named]

    def take(self, message: messages.Parts, data: Sequence[memoryview], *, is_placed: bool) -> None:
        """Take chunks; `is_placed`: their data is where `places` said.

        Raises:
            ProtocolError: it does not fit to what came before.
        """
        buffer = self._check(message)
        given = iter(data)
        for start, size, digest, is_named in _layout(message):
            if is_named:
                if not self._find(message.buffer, buffer, Chunk(start, size, digest)):
                    self._lacking[message.buffer, start] = len(buffer.chunks)
            else:
                piece = next(given, None)
                if piece is None or (len(piece) != size and not message.packed):
                    raise ProtocolError("a chunk has not the size that was told")
                if message.packed:
                    unpack_into(self._memory(message.buffer, buffer).view[start : start + size], piece)
                elif not is_placed:
                    self._memory(message.buffer, buffer).view[start : start + size] = piece
            if self._are_all_named:
                del self._lacking[message.buffer, start]
            else:
                buffer.chunks.append(Chunk(start, size, digest))
                buffer.filled = start + size
                self.done += size

    def forget(self, digests: bytes) -> None:
        """Note chunks that are not what their digests say."""
        self._forgotten.update(_split(digests))

    def lacking(self) -> tuple[tuple[int, int], ...]:
        """All chunks have been told of: return those that are neither here nor were sent, by buffer and number."""
        self._are_all_named = True
        for index, buffer in self._buffers.items():
            if buffer.origin is not None and buffer.filled != buffer.size:
                self._memory(index, buffer)
        return tuple((index, number) for (index, _), number in self._lacking.items())

    def complete(self, buffers: list[memoryview]) -> tuple[list[memoryview], list[Chunk]]:
        """Return the frame's buffers, large ones in their places, and the chunks of these.

        Raises:
            ProtocolError: something of them has not come.
        """
        result = list(buffers)
        chunks: list[Chunk] = []
        for index, buffer in self._buffers.items():
            is_there = buffer.filled == buffer.size and index < len(result) and not len(result[index])
            if not is_there or self._lacking:
                raise ProtocolError("a frame came before its large buffers")
            right = [chunk for chunk in buffer.chunks if chunk.digest not in self._forgotten]
            whole = None
            if buffer.memory is None and buffer.origin is not None:
                whole = self._memories.share(*buffer.origin, buffer.size)
            if whole is None:
                whole = self._memory(index, buffer).finish(right, self._store)
            result[index] = whole
            chunks += right
        if self._lacking:
            raise ProtocolError("chunks were lost while they were put together")
        self._memories.finish()
        return result, chunks

    def _check(self, message: messages.Parts) -> _Buffer:
        """Check a message against what is known of its buffer; make a new buffer known."""
        sizes = message.sizes
        if not sizes or len(message.named) != len(sizes) or len(message.digests) != DIGEST_SIZE * len(sizes):
            raise ProtocolError("chunks were told of in a message that contradicts itself")
        if min(sizes) < 1 or max(sizes) > CHUNK:
            raise ProtocolError("a chunk is empty or over the limit")
        buffer = self._buffers.get(message.buffer)
        if buffer is None:
            if message.size < LARGE or message.buffer < 0:
                raise ProtocolError("a buffer came in chunks that is not large, or has no place")
            self.total = message.total
            if message.size + sum(b.size for b in self._buffers.values()) > min(self._limit, message.total):
                raise ProtocolError("large buffers are over the limit, or larger than was told")
            buffer = _Buffer(message.size)
        if self._are_all_named:
            is_due = (
                len(sizes) == 1 and (message.buffer, message.start) in self._lacking and not message.named[0]
            )
        else:
            is_due = message.start == buffer.filled
        if not is_due or message.size != buffer.size or message.start + sum(sizes) > buffer.size:
            raise ProtocolError("a chunk came that was not due")
        self._buffers[message.buffer] = buffer
        return buffer

    def _find(self, index: int, buffer: _Buffer, chunk: Chunk) -> bool:
        """Put a chunk of this side into a buffer; False when it is not here."""
        if buffer.memory is None:
            origin = buffer.origin if chunk.start else self._store.find(chunk.digest)
            if origin is not None and origin[0].holds(origin[1] + chunk.start, chunk.digest):
                buffer.origin = origin
                return True
        view = self._memory(index, buffer).view[chunk.start : chunk.start + chunk.size]
        return self._store.copy(chunk.digest, view)

    def _memory(self, index: int, buffer: _Buffer) -> Memory:
        """Return the memory of a buffer; what lies in its origin is copied there."""
        if buffer.memory is None:
            buffer.memory = self._memories.make(buffer.size)
            if buffer.origin is not None:
                source, base = buffer.origin
                for number, (start, size, _) in enumerate(buffer.chunks):
                    if not source.copy_into(base + start, buffer.memory.view[start : start + size]):
                        self._lacking[index, start] = number
        return buffer.memory


def _layout(message: messages.Parts) -> Iterator[tuple[int, int, bytes, bool]]:
    """Return start, size, digest of each chunk, and whether it is only named."""
    start = message.start
    for size, digest, is_named in zip(message.sizes, _split(message.digests), message.named, strict=True):
        yield start, size, digest, is_named
        start += size


def _split(digests: bytes) -> list[bytes]:
    return [digests[i : i + DIGEST_SIZE] for i in range(0, len(digests), DIGEST_SIZE)]
