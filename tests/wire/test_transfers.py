"""Transfers between two sides: whatever each of them has, loses or changes, the buffers arrive as they were sent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WireLimits
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import CHUNK, LARGE, digest_of
from rpc_magic.wire.frames import Buffer, Frame, FrameReader, encode_frame
from rpc_magic.wire.held import Blocks, HeldMemories
from rpc_magic.wire.incoming import PrivateMemories
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Transfers

LIMIT = 64 * LARGE


class Side:
    """One side of a connection without a socket.

    Args:
        held: bytes that it holds as a session does; None for a client.
        piece: bytes that arrive at once; None for all.
    """

    def __init__(self, held: int | None = None, piece: int | None = None) -> None:
        self.store = ChunkStore(1 << 30 if held is None else 0)
        blocks = Blocks(self.store, held or 0)
        self._memories = PrivateMemories if held is None else lambda: HeldMemories(blocks)
        self.transfers = Transfers(self.store, LIMIT, self._memories)
        self.piece = piece
        self.bytes = 0
        self._begin()

    def _begin(self) -> None:
        self.reader = FrameReader(None, self.transfers)
        self.sequence = 0
        self.received: list[Frame] = []

    def reconnect(self) -> None:
        """Go on, on another connection."""
        earlier, self.transfers = self.transfers, Transfers(self.store, LIMIT, self._memories)
        self.transfers.follow(earlier)
        self._begin()

    def send(self, other: Side, message: bytes, buffers: Sequence[Buffer] = (), transfer: int = 0) -> None:
        """Send a frame; the other side takes it in."""
        self.sequence += 1
        data = b"".join(encode_frame(7, self.sequence, 0, message, buffers, transfer))
        self.bytes += len(data)
        while data:
            area = other.reader.buffer_to_fill()
            n = min(len(area), len(data), other.piece or len(data))
            area[:n] = data[:n]
            data = data[n:]
            other.received += other.reader.filled(n)

    def ship(
        self, other: Side, buffers: Sequence[Buffer], change: Any = None, *, is_packing: bool = False
    ) -> list[memoryview]:
        """Send buffers as a frame; `change` is called after each part has left. Return what came."""
        outgoing = self.transfers.outgoing(b"the frame", buffers)
        if outgoing is None:
            self.send(other, b"the frame", buffers)
        else:
            outgoing.is_packing = is_packing
            while (step := outgoing.next()) is not None or outgoing.is_waiting:
                if step is not None:
                    self.send(other, *step)
                    if change is not None:
                        change()
                    continue
                question = messages.decode_request(other.received.pop(0).message)
                assert isinstance(question, messages.AllNamed)
                other.send(self, messages.encode(other.transfers.answer(question)))
                answer = messages.decode_answer(self.received.pop().message)
                assert isinstance(answer, messages.Lacking)
                self.transfers.answer(answer)
        frame = other.received.pop()
        assert (frame.message, frame.call, other.received) == (b"the frame", 7, [])
        return frame.buffers


def noise(size: int, seed: int) -> bytearray:
    """Return bytes that differ everywhere."""
    return bytearray(random.Random(seed).randbytes(size))


@pytest.mark.parametrize("piece", [None, 100_000, 997])
@pytest.mark.parametrize("held", [None, 1 << 30])
def test_what_is_there_is_named(held: int | None, piece: int | None) -> None:
    """The second sending is a hundredth, one changed byte costs a chunk, the way back costs as little."""
    here, there = Side(), Side(held, piece)
    content = noise(3 * LARGE + 5, 1)
    small = b"small"
    assert here.ship(there, [small, bytes(content), b"", bytes(content)]) == [small, content, b"", content]
    first, here.bytes = here.bytes, 0
    kept = here.ship(there, [bytes(content)])
    assert kept == [content]
    if held is None:
        assert here.bytes < first, "its memory is gone, so it was sent again"
    else:
        assert here.bytes < first / 500
        here.bytes = 0
        content[LARGE] ^= 1
        assert here.ship(there, [bytes(content)]) == [content]
        assert CHUNK < here.bytes < CHUNK + 20_000
    there.bytes = 0
    back = [bytes(content)]
    assert there.ship(here, back) == [content]
    assert there.bytes < first / 100, "what was sent from here is here"
    assert here.transfers.saved >= 0


@pytest.mark.parametrize("piece", [None, 1000])
def test_compression(piece: int | None) -> None:
    """Where a sample shrinks the chunks are compressed, elsewhere not; both arrive, and are known afterwards."""
    here, there = Side(), Side(1 << 30, piece)
    text, random_bytes = b"a line of text\n" * (LARGE // 10), bytes(noise(LARGE, 6))
    assert here.ship(there, [text, random_bytes], is_packing=True) == [text, random_bytes]
    assert LARGE < here.bytes < LARGE + 100_000
    here.bytes = 0
    assert here.ship(there, [text, random_bytes], is_packing=True) == [text, random_bytes]
    assert here.bytes < 10_000


def test_what_came_can_be_written_to() -> None:
    """A change of what came is a change of it alone."""
    here, there = Side(), Side(1 << 30)
    content = bytes(noise(2 * LARGE, 2))
    (one,) = here.ship(there, [content])
    one[:3] = b"abc"
    (two,) = here.ship(there, [content])
    assert two == content
    two[-3:] = b"xyz"
    assert here.ship(there, [content])[0] == content
    assert bytes(one[:3]) == b"abc"


def test_what_was_forgotten_is_sent_again() -> None:
    """A wrong belief costs an answer: the receiver had dropped its blocks."""
    here, there = Side(), Side(LARGE)
    content = bytes(noise(2 * LARGE, 3))
    for _ in range(3):
        assert here.ship(there, [content])[0] == content
    assert here.transfers.saved == 0


def test_equal_chunks() -> None:
    """A buffer of one repeated chunk arrives whole, the first time and named."""
    here, there = Side(), Side(1 << 30)
    for _ in range(2):
        here.bytes = 0
        assert here.ship(there, [bytes(4 * LARGE)])[0] == bytes(4 * LARGE)
    assert here.bytes < 2000


def test_a_change_while_it_is_sent_is_not_remembered() -> None:
    """A chunk that another thread changed after it was digested is never taken for what its digest says."""
    here, there = Side(), Side(1 << 30)
    content = noise(2 * LARGE, 4)
    original = bytes(content)

    def change() -> None:
        content[0] ^= 255

    view = memoryview(content)
    assert len(here.ship(there, [view], change)[0]) == len(content)
    assert here.ship(there, [original])[0] == original
    assert there.store.find(digest_of(original[:CHUNK])) is not None, "it was sent again, in its right form"


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1 << 32))
def test_any_history(seed: int) -> None:
    """Invariant: after any history of changes, losses and transfers both ways, what comes is what was sent."""
    rng = random.Random(seed)
    sides = Side(), Side(rng.choice([0, 2 * LARGE, 1 << 30]), rng.choice([None, 70_000]))
    pool = [noise(LARGE + rng.randrange(LARGE), rng.randrange(9)) for _ in range(3)]
    alive: list[Any] = []
    for _ in range(8):
        here, there = sides if rng.random() < 0.6 else reversed(sides)
        content = rng.choice(pool)
        match rng.randrange(5):
            case 0:
                content[rng.randrange(len(content))] ^= 1
            case 1:
                content[:CHUNK] = noise(CHUNK, rng.randrange(3))
            case 2:
                del content[rng.randrange(CHUNK) : CHUNK]
                content.extend(bytes(max(0, LARGE - len(content))))
            case 3:
                alive.clear()
        sent = [bytes(rng.choice(pool)), b"x", bytes(content)]
        came = here.ship(there, sent)
        assert came == sent
        came[2][rng.randrange(len(content))] ^= 1
        alive += [sent, came]


def _parts(**changes: Any) -> messages.Parts:
    fields: dict[str, Any] = {
        "transfer": 1,
        "buffer": 0,
        "total": LARGE,
        "size": LARGE,
        "start": 0,
        "sizes": (CHUNK,),
        "digests": bytes(16),
        "named": (False,),
    }
    return messages.Parts(**{**fields, **changes})


_CHUNK = bytes(CHUNK)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (_parts(transfer=0), [_CHUNK]),
        (_parts(transfer=-1), [_CHUNK]),
        (_parts(buffer=-1), [_CHUNK]),
        (_parts(size=LARGE - 1), [_CHUNK]),
        (_parts(size=1 << 40, total=1 << 40), [_CHUNK]),
        (_parts(size=2 * LARGE), [_CHUNK]),
        (_parts(size=-LARGE), [_CHUNK]),
        (_parts(start=CHUNK), [_CHUNK]),
        (_parts(start=-CHUNK), [_CHUNK]),
        (_parts(sizes=()), []),
        (_parts(sizes=(0,)), [b""]),
        (_parts(sizes=(CHUNK + 1,)), [bytes(CHUNK + 1)]),
        (_parts(sizes=(-5,)), [b""]),
        (_parts(digests=b"short"), [_CHUNK]),
        (_parts(named=()), []),
        (_parts(named=(True, True)), []),
        (_parts(named=(True,)), [_CHUNK]),
        (_parts(), []),
        (_parts(), [b"x"]),
        (_parts(), [_CHUNK, _CHUNK]),
        (_parts(), [bytes(CHUNK - 1)]),
        (_parts(sizes=(5,)), [b"1234"]),
    ],
)
def test_what_is_not_due_is_refused(message: messages.Parts, data: list[bytes]) -> None:
    """A hostile part is a `ProtocolError`, whether its data follow as told or not."""
    with pytest.raises(ProtocolError):
        Side().send(Side(), messages.encode(message), data)


def test_no_memory_is_taken_for_what_is_only_told() -> None:
    """Four gigabytes that are announced take no memory; over the limit they are refused."""
    there = Side()
    with pytest.raises(ProtocolError, match="over the limit"):
        Side().send(there, messages.encode(_parts(size=LIMIT + 1, total=1 << 60, named=(True,))))
    Side().send(there := Side(), messages.encode(_parts(size=LIMIT, total=LIMIT, named=(True,))))
    assert there.transfers.incoming == (7, CHUNK, LIMIT)


def test_a_frame_before_its_buffers_is_refused() -> None:
    """A transfer that is not complete, that was not there, or whose places are taken, breaks the protocol."""
    for buffers, number in (([b""], 1), ([b""], 2), ([b"x"], 1), ([], 1)):
        here, there = Side(), Side()
        here.send(there, messages.encode(_parts()), [bytes(CHUNK)])
        with pytest.raises(ProtocolError):
            here.send(there, b"the frame", buffers, number)


def test_answers_that_fit_nothing_are_refused() -> None:
    """`Lacking` without a question, or of chunks that there are not."""
    here, there = Side(), Side(1 << 30)
    with pytest.raises(ProtocolError):
        here.transfers.answer(messages.Lacking(1, ()))
    content = bytes(noise(LARGE, 5))
    here.ship(there, [content])
    outgoing = here.transfers.outgoing(b"the frame", [content])
    assert outgoing is not None
    while not outgoing.is_waiting:
        outgoing.next()
    for chunks in (((1, 0),), ((0, -1),), ((0, 99),), ((0, 0), (0, 0)), ((0, 1),) * 1000):
        with pytest.raises(ProtocolError):
            here.transfers.answer(messages.Lacking(outgoing.number, chunks))


def test_what_was_sent_is_not_lacking() -> None:
    """Only what was named can be lacking: nobody can have everything sent a second time."""
    here, there = Side(), Side(1 << 30)
    known, fresh = bytes(noise(CHUNK, 1)), bytes(noise(LARGE, 2))
    here.ship(there, [known * 4])
    outgoing = here.transfers.outgoing(b"the frame", [known + fresh])
    assert outgoing is not None
    while not outgoing.is_waiting:
        outgoing.next()
    with pytest.raises(ProtocolError, match="were not named"):
        here.transfers.answer(messages.Lacking(outgoing.number, ((0, 1),)))
    here.transfers.answer(messages.Lacking(outgoing.number, ((0, 0),)))


def test_endless_frames_after_one_that_lacks_chunks() -> None:
    """What comes after a frame whose chunks are lacking waits for it, but not without a limit."""
    here, there = Side(), Side()
    there.reader = FrameReader(WireLimits(waiting=10_000), there.transfers)
    here.send(
        there, messages.encode(_parts(size=LARGE, sizes=(CHUNK,) * 4, digests=bytes(64), named=(True,) * 4))
    )
    here.send(there, messages.encode(messages.AllNamed(1)))
    here.send(there, b"the frame", [b""], 1)
    for _ in range(20):
        here.send(there, b"x" * 100)
    with pytest.raises(ProtocolError, match="too much came after"):
        here.send(there, b"x" * 5000)


class Cut(Exception):
    """The connection breaks."""


@pytest.mark.parametrize("held", [None, 1 << 30])
@pytest.mark.parametrize("every", [CHUNK + 20_000, LARGE, 5 * LARGE])
def test_what_had_come_before_a_cut_stays(held: int | None, every: int) -> None:
    """A connection that breaks after so many bytes brings the buffers at last, and little of them twice."""
    here, there = Side(), Side(held)
    content = [bytes(noise(8 * LARGE + 3, 1)), b"small", bytes(2 * LARGE), bytes(noise(LARGE, 2))]
    came, cuts = None, 0
    while came is None:
        before = here.bytes

        def cut(before: int = before) -> None:
            if here.bytes - before > every:
                raise Cut

        try:
            came = here.ship(there, content, cut)
        except Cut:
            cuts += 1
            for side in (here, there):
                side.reconnect()
        assert cuts < 100
    assert came == content
    assert cuts
    assert here.bytes < 1.5 * sum(map(len, content)) + 100_000


def test_a_change_that_was_cut_off_is_not_believed() -> None:
    """A chunk that changed while it was sent, and of which the cut kept that from being told, is not found again."""
    here, there = Side(), Side(1 << 30)
    old = noise(4 * LARGE, 1)
    content = bytearray(old)
    outgoing = here.transfers.outgoing(b"the frame", [content])
    assert outgoing is not None
    step = outgoing.next()
    assert step is not None
    content[5] ^= 1  # after its digest was made
    here.send(there, *step)
    for side in (here, there):
        side.reconnect()
    assert here.ship(there, [bytes(old)]) == [old]
