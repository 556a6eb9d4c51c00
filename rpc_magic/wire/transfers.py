"""Transfers: large buffers go ahead of their frame, in chunks; what the other side has is named (protocol page, 9).

Theory of operation. The sender of a frame with large buffers goes through them a few chunks at a time: it digests
them, and says for each group which chunks follow (`Parts`); those it believes to be there, because they were once
sent or received on this connection, are named only. The receiver puts each buffer together from what is sent and what
it finds. Then comes the frame itself, whose header names the transfer and whose table has empty places for its buffers.
If chunks were only named, the receiver says which of them it could not find (`Lacking`, perhaps none), gets these, and
only then takes the frame. So a first sending is digested while it travels and waits for nothing, what is known costs
no round trip of its own, and a wrong belief costs one.

One transfer of a direction is under way at a time. Nothing here does I/O: `Outgoing` is driven by whoever sends the
frame, `Transfers` by whoever reads. `rpc_magic.wire.incoming` puts the buffers together.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import LARGE, Chunk, digest_of, flat, spans
from rpc_magic.wire.frames import Buffer, Frame
from rpc_magic.wire.incoming import Incoming, Memories, PrivateMemories
from rpc_magic.wire.packing import pack, pays
from rpc_magic.wire.store import ChunkStore

__all__ = ["Outgoing", "Step", "Transfers"]

_GROUP = 16
"""Chunks in one message: what is digested is still in the processor's cache when it is sent."""

_LESS = 4
"""By so much fewer are in one message after a transfer was cut: what has come of a message counts when all has."""

_KNOWN = 1 << 17
"""Chunks that the other side is believed to have; the oldest are forgotten first."""


class _Known(OrderedDict[bytes, None]):
    """Digests that the other side is believed to have."""

    def add_all(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            self[digest] = None
        while len(self) > _KNOWN:
            self.popitem(last=False)


class Step(NamedTuple):
    """A frame to be sent: its message, buffers, and the transfer that it ends."""

    message: bytes
    buffers: Sequence[Buffer] = ()
    transfer: int = 0


class Outgoing:
    """A frame's large buffers on their way.

    Args:
        number: the transfer's.
        message: the frame's, encoded.
        buffers: of the frame, all of them.
        transfers: of the connection.

    Attributes:
        number: the transfer's.
        done: bytes of chunks that were handed out or named.
        is_waiting: nothing can be sent before the other side has said what it lacks.
        is_packing: compress what follows, where a sample shows that it pays; set by whoever sees how fast it goes.
    """

    def __init__(self, number: int, message: bytes, buffers: Sequence[Buffer], transfers: Transfers) -> None:
        self.number = number
        self._message = message
        self._transfers = transfers
        self._views = {i: flat(b) for i, b in enumerate(buffers) if len(b) >= LARGE}
        self._rest: list[Buffer] = [b"" if i in self._views else b for i, b in enumerate(buffers)]
        self.done = 0
        self.is_waiting = self.is_packing = False
        self._pays: dict[int, bool] = {}  # by buffer
        self._total = sum(view.nbytes for view in self._views.values())
        self._chunks: dict[int, list[Chunk]] = {i: [] for i in self._views}
        self._named: set[tuple[int, int]] = set()  # by buffer and number
        self._changed: set[bytes] = set()
        self._lacking: tuple[tuple[int, int], ...] = ()
        self._steps = self._go()

    def next(self) -> Step | None:
        """Return the frame to send next; None when it waits for the other side, or is done."""
        return None if self.is_waiting else next(self._steps, None)

    def answer(self, message: messages.Lacking) -> None:
        """Take what the other side lacks.

        Raises:
            ProtocolError: it is no part of this transfer.
        """
        lacking = set(message.chunks)
        if len(lacking) < len(message.chunks) or not lacking <= self._named:
            raise ProtocolError("the other side lacks chunks that were not named to it, or lacks one twice")
        self._lacking = message.chunks
        self.is_waiting = False

    @property
    def given(self) -> list[bytes]:
        """Digests of the chunks that were handed out or named so far."""
        every = itertools.chain.from_iterable(self._chunks.values())
        return [chunk.digest for chunk in every if chunk.digest not in self._changed]

    def _go(self) -> Iterator[Step]:
        known, saved = self._transfers.known, 0
        for index, view in self._views.items():
            grid = spans(view)
            while group := list(itertools.islice(grid, self._transfers.group)):
                chunks = [Chunk(start, size, digest_of(view[start : start + size])) for start, size in group]
                named = [chunk.digest in known for chunk in chunks]
                for number, (chunk, is_named) in enumerate(
                    zip(chunks, named, strict=True), len(self._chunks[index])
                ):
                    self.done += chunk.size
                    if is_named:
                        self._named.add((index, number))
                        saved += chunk.size
                self._chunks[index] += chunks
                yield from self._give(index, chunks, named)
        if saved:
            yield Step(messages.encode(messages.AllNamed(self.number)))
            self.is_waiting = True
        yield Step(self._message, self._rest, self.number)
        if saved:
            for index, number in self._lacking:
                chunk = self._chunks[index][number]
                saved -= chunk.size
                yield from self._give(index, [chunk], [False])
        self._transfers.saved += saved
        for index, chunks in self._chunks.items():
            unchanged = [chunk for chunk in chunks if chunk.digest not in self._changed]
            self._transfers.store.note_memory(self._views[index], unchanged)
            known.add_all(chunk.digest for chunk in unchanged)
        self._views.clear()  # whose memory it is may want to resize it
        self._rest.clear()
        self._transfers.note_sent()

    def _give(self, index: int, chunks: list[Chunk], named: list[bool]) -> Iterator[Step]:
        """Give chunks of a buffer."""
        view = self._views[index]
        data = [
            (c, view[c.start : c.start + c.size])
            for c, is_named in zip(chunks, named, strict=True)
            if not is_named
        ]
        if self.is_packing and data and index not in self._pays:
            self._pays[index] = pays(data[0][1])
        is_packed = self.is_packing and self._pays.get(index, False)
        message = messages.Parts(
            self.number,
            index,
            self._total,
            view.nbytes,
            chunks[0].start,
            tuple(chunk.size for chunk in chunks),
            b"".join(chunk.digest for chunk in chunks),
            tuple(named),
            is_packed,
        )
        yield Step(messages.encode(message), [pack(part) if is_packed else part for _, part in data])
        # It has left. What another thread changed meanwhile is not what its digest says.
        changed = {chunk.digest for chunk, part in data if digest_of(part) != chunk.digest}
        if changed:
            self._changed |= changed
            yield Step(messages.encode(messages.ForgetChunks(self.number, b"".join(changed))))


class Transfers:
    """The transfers of one connection, both directions; the inlet of its frames.

    Args:
        store: the chunks of this side, which outlives the connection.
        limit: bytes of all large buffers of one frame that are taken in.
        memories: makes what an incoming transfer's buffers are put together in.

    Attributes:
        known: chunks that the other side is believed to have.
        saved: bytes that were named and not sent, so far.
        group: chunks of a large buffer that are sent in one message.
    """

    def __init__(
        self, store: ChunkStore, limit: int, memories: Callable[[], Memories] = PrivateMemories
    ) -> None:
        self.store, self._limit, self._memories = store, limit, memories
        self.known = _Known()
        self.saved, self.group = 0, _GROUP
        self._salvaged: list[memoryview] = []  # of a transfer that was cut: its chunks are found there
        self._numbers = itertools.count(1)
        self._outgoing: Outgoing | None = None
        self._incoming: Incoming | None = None
        self._placed: messages.Parts | None = None
        self._ended: Frame | None = None  # the frame of the incoming transfer, while chunks are lacking
        self._call = 0
        self._last = 0

    def follow(self, earlier: Transfers) -> None:
        """Go on where an earlier connection broke, which nobody uses any more.

        What has come of the transfers that were under way need not come again; what has left is believed to be there.
        """
        self.known = earlier.known
        self._salvaged = earlier._salvaged
        outgoing, incoming = earlier._outgoing, earlier._incoming
        if outgoing is not None:
            self.known.add_all(outgoing.given)
            self.group = max(1, earlier.group // _LESS)
        if incoming is not None:
            self._salvaged = incoming.salvage()

    def outgoing(self, message: bytes, buffers: Sequence[Buffer]) -> Outgoing | None:
        """Begin to send a frame; None when none of its buffers is large."""
        if not any(len(buffer) >= LARGE for buffer in buffers):
            return None
        self._outgoing = Outgoing(next(self._numbers), message, buffers, self)
        return self._outgoing

    def place(self, message: bytes, count: int) -> list[memoryview] | None:
        """Return the memory for the `count` buffers of a frame that has begun to come; None where any memory will do.

        Raises:
            ProtocolError: it does not fit to what came before.
        """
        parts = messages.decode_transferring(message)
        if not isinstance(parts, messages.Parts) or parts.packed:
            return None
        places = self._of(parts.transfer).places(parts)
        if len(places) != count:
            raise ProtocolError("chunks were told of that did not come")
        self._placed = parts
        return places

    def note_sent(self) -> None:
        """What was on its way has left, with all that the other side lacked."""
        self._outgoing, self.group = None, _GROUP

    @property
    def incoming(self) -> tuple[int, int, int]:
        """Call, bytes received or found, and bytes in all of the transfer that comes in; zeros while none does.

        Any thread may ask.
        """
        incoming = self._incoming
        return (0, 0, 0) if incoming is None else (self._call, incoming.done, incoming.total)

    def take(self, frame: Frame) -> Frame | None:
        """Take in chunks; give a frame with its large buffers in their places, and any other frame as it is.

        Raises:
            ProtocolError: it does not fit to what came before.
        """
        if frame.transfer:
            if self._incoming is None or self._incoming.number != frame.transfer or self._ended is not None:
                raise ProtocolError("a frame names a transfer that there was not")
            self._ended = frame
            return self._complete()
        message = messages.decode_transferring(frame.message)
        match message:
            case messages.Parts():
                is_placed, self._placed = self._placed == message, None
                self._call = frame.call
                self._of(message.transfer).take(message, frame.buffers, is_placed=is_placed)
            case messages.ForgetChunks(transfer, digests):
                self._of(transfer).forget(digests)
            case messages.AllNamed(transfer):
                self._of(transfer).end_naming()
                return frame
            case _:
                return frame
        return self._complete() if self._ended is not None else None

    def answer(self, message: messages.AllNamed | messages.Lacking) -> messages.Lacking | None:
        """Take what else is said of transfers; return what to answer.

        Raises:
            ProtocolError: it does not fit to what came before.
        """
        if isinstance(message, messages.AllNamed):
            incoming = self._incoming
            if incoming is None or incoming.number != message.transfer:  # it is complete
                return messages.Lacking(message.transfer, ())
            return messages.Lacking(message.transfer, incoming.lacking)
        outgoing = self._outgoing
        if outgoing is None or outgoing.number != message.transfer or not outgoing.is_waiting:
            raise ProtocolError("the other side lacks chunks of a transfer that does not wait")
        outgoing.answer(message)
        return None

    def _complete(self) -> Frame | None:
        """Return the frame that has come, unless chunks of its buffers are lacking."""
        incoming, frame = self._incoming, self._ended
        assert incoming is not None
        assert frame is not None
        if incoming.lacking:
            return None
        self._incoming = self._ended = None
        self._salvaged = []
        buffers, chunks = incoming.complete(frame.buffers)
        self.known.add_all(chunk.digest for chunk in chunks)
        return frame._replace(buffers=buffers)

    def _of(self, number: int) -> Incoming:
        """Return the incoming transfer of this number; a new one replaces one that was given up."""
        if self._incoming is None or self._incoming.number != number:
            if number <= self._last or self._ended is not None:
                raise ProtocolError("a transfer was told of that is over")
            self._last = number
            self._incoming = Incoming(number, self.store, self._memories(), self._limit)
        return self._incoming
