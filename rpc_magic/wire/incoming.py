"""Puts the large buffers of an incoming transfer together, from what is sent and what is here already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from rpc_magic.errors import ProtocolError
from rpc_magic.memory import allocate
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import CHUNK, CHUNKS_A_CHUNK, DIGEST_SIZE, LARGE, Chunk, digest_of
from rpc_magic.wire.packing import unpack_into
from rpc_magic.wire.store import ChunkStore, Source

__all__ = ["Incoming", "Memories", "Memory", "Origin", "PrivateMemories"]


class Memory(Protocol):
    """Memory that one buffer is put together in.

    Attributes:
        view: to be written to.
        is_on_origin: what its origin holds is there already.
    """

    view: memoryview
    is_on_origin: bool

    def finish(self, chunks: list[Chunk], store: ChunkStore) -> memoryview:
        """All is there: remember its chunks, and return what the object is made on."""


class Memories(Protocol):
    """Gives memory to the buffers of one transfer."""

    def make(self, size: int, origin: Origin | None) -> Memory:
        """Return memory for a buffer, most of which may lie in `origin`."""

    def share(self, source: Source, base: int, size: int) -> memoryview | None:
        """Return a buffer that lies in `source` as a whole, without a copy; None where that cannot be."""

    def finish(self) -> None:
        """All buffers of the transfer are finished."""


class PrivateMemories:
    """Memory that belongs to the objects alone."""

    class _Private:
        is_on_origin = False

        def __init__(self, size: int) -> None:
            self.view = allocate(size)

        def finish(self, chunks: list[Chunk], store: ChunkStore) -> memoryview:
            store.note_memory(self.view, chunks)
            return self.view

    def make(self, size: int, origin: Origin | None) -> Memory:  # noqa: ARG002  # see `Memories`
        """Return memory for a buffer."""
        return self._Private(size)

    def share(self, source: Source, base: int, size: int) -> memoryview | None:  # noqa: ARG002  # see `Memories`
        """Nothing is shared."""
        return None

    def finish(self) -> None:
        """Nothing is left to do."""


class Origin(NamedTuple):
    """Where a buffer lies, or one that is like it: a source, and the place of its first byte."""

    source: Source
    base: int

    def holds(self, chunk: Chunk) -> bool:
        """Tell whether a chunk certainly lies in its place."""
        return self.source.holds(self.base + chunk.start, chunk.digest, chunk.size)


class _Buffer:
    """An incoming buffer.

    Attributes:
        size: bytes.
        filled: bytes that have been told of, from its beginning.
        chunks: these.
        most: chunks that it may have.
        origin: where much of it lies in one piece already.
        memory: what it is put together in; None while all of it is in the origin.
    """

    def __init__(self, size: int) -> None:
        self.size, self.filled = size, 0
        self.most = CHUNKS_A_CHUNK * size // CHUNK + 1
        self.chunks: list[Chunk] = []
        self.origin: Origin | None = None
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
        if len(data) != message.named.count(False):
            raise ProtocolError("chunks were told of that did not come, or came untold")
        given = iter(data)
        for start, size, digest, is_named in _layout(message):
            if is_named:
                if not self._find(message.buffer, buffer, Chunk(start, size, digest)):
                    self._lacking[message.buffer, start] = len(buffer.chunks)
            else:
                piece = next(given)
                if len(piece) != size and not message.packed:
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
        """Note chunks that are not what their digests say.

        Raises:
            ProtocolError: they are more than were told of.
        """
        self._forgotten.update(_split(digests))
        if len(self._forgotten) > sum(len(buffer.chunks) for buffer in self._buffers.values()):
            raise ProtocolError("chunks are to be forgotten that nobody has told of")

    def end_naming(self) -> None:
        """All chunks have been told of: those that are lacking come next.

        Raises:
            ProtocolError: that was said before.
        """
        if self._are_all_named:
            raise ProtocolError("all chunks of a transfer were told of twice")
        self._are_all_named = True

    @property
    def lacking(self) -> tuple[tuple[int, int], ...]:
        """The chunks that were named and are not here, by buffer and number, until they have come."""
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
            if not is_there:
                raise ProtocolError("a frame came before its large buffers")
            whole = None
            if buffer.memory is None and buffer.origin is not None:
                whole = self._memories.share(*buffer.origin, buffer.size)
            memory = self._memory(index, buffer) if whole is None else None
            if self._lacking:  # found when they were told of, and gone since
                raise ProtocolError("chunks that were here have been lost")
            right = [chunk for chunk in buffer.chunks if chunk.digest not in self._forgotten]
            if memory is not None:
                whole = memory.finish(right, self._store)
            assert whole is not None
            result[index] = whole
            chunks += right
        self._memories.finish()
        return result, chunks

    def salvage(self) -> list[memoryview]:
        """The connection broke: have the chunks that came found again; return memory in which they may lie.

        That the last of them are not what their digests say may not have been told any more, hence the check.
        """
        found: list[memoryview] = []
        for memory, chunks in [(b.memory, b.chunks) for b in self._buffers.values() if b.memory is not None]:
            here = [c for c in chunks if digest_of(memory.view[c.start : c.start + c.size]) == c.digest]
            found.append(memory.finish(here, self._store))
        self._memories.finish()
        return found

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
            if message.size + sum(b.size for b in self._buffers.values()) > min(self._limit, message.total):
                raise ProtocolError("large buffers are over the limit, or larger than was told")
            self.total = min(self._limit, message.total)
            buffer = _Buffer(message.size)
        if not self._is_due(message, buffer):
            raise ProtocolError("a chunk came that was not due")
        if message.buffer not in self._buffers:
            self._look_for_origin(buffer, message)
            self._buffers[message.buffer] = buffer
        return buffer

    def _is_due(self, message: messages.Parts, buffer: _Buffer) -> bool:
        """Tell whether these chunks come next; a lacking one must be the very one that was named."""
        if message.size != buffer.size or message.start + sum(message.sizes) > buffer.size:
            return False
        if not self._are_all_named:
            is_within = len(buffer.chunks) + len(message.sizes) <= buffer.most
            return message.start == buffer.filled and is_within
        number = self._lacking.get((message.buffer, message.start))
        wanted = buffer.chunks[number] if number is not None else None
        return wanted == (message.start, message.sizes[0], message.digests) and message.named == (False,)

    def _find(self, index: int, buffer: _Buffer, chunk: Chunk) -> bool:
        """Put a chunk of this side into a buffer; False when it is not here."""
        is_on_origin = buffer.memory is None or buffer.memory.is_on_origin
        if is_on_origin and buffer.origin is not None and buffer.origin.holds(chunk):
            return True
        view = self._memory(index, buffer).view[chunk.start : chunk.start + chunk.size]
        return self._store.copy(chunk.digest, view)

    def _look_for_origin(self, buffer: _Buffer, message: messages.Parts) -> None:
        """Look where a new buffer, or one that is like it, lies."""
        for start, size, digest, is_named in _layout(message):
            found = self._store.find(digest) if is_named else None
            if found is not None:
                origin = Origin(found[0], found[1] - start)
                if origin.holds(Chunk(start, size, digest)):
                    buffer.origin = origin
                    return

    def _memory(self, index: int, buffer: _Buffer) -> Memory:
        """Return the memory of a buffer; what was found in its origin is there as well."""
        if buffer.memory is None:
            buffer.memory = self._memories.make(buffer.size, buffer.origin)
            if buffer.origin is not None and not buffer.memory.is_on_origin:
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
