"""Frames: whatever the cuts, what was encoded comes out; whatever the bytes, frames or `ProtocolError`."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import CONTROL_LIMITS, WireLimits
from rpc_magic.wire.frames import HEADER, JOIN, MAGIC, VERSION, Buffer, Frame, FrameReader, encode_frame

STAGING = 1 << 17  # the reader's staging area; tests go to both sides of it
Plain = tuple[int, int, int, bytes, list[bytes]]


def wire(call: int, seq: int, message: bytes, buffers: Sequence[Buffer] = (), ack: int = 0) -> bytes:
    return b"".join(encode_frame(call, seq, ack, message, buffers))


def plain(frames: Iterable[Frame]) -> list[Plain]:
    return [(f.call, f.seq, f.ack, f.message, [bytes(b) for b in f.buffers]) for f in frames]


def feed(reader: FrameReader, data: bytes, *sizes: int) -> list[Frame]:
    """Give `data` to the reader in pieces of `sizes` at most (the last one repeated), as a socket would."""
    frames: list[Frame] = []
    view, at, turn = memoryview(data), 0, 0
    while at < len(view):
        room = reader.buffer_to_fill()
        assert len(room) > 0
        size = sizes[min(turn, len(sizes) - 1)] if sizes else len(room)
        n = min(len(room), size, len(view) - at)
        room[:n] = view[at : at + n]
        frames += reader.filled(n)
        at += n
        turn += 1
    return frames


def header(
    *,
    magic: bytes = MAGIC,
    version: int = VERSION,
    flags: int = 0,
    length: int = 0,
    call: int = 0,
    seq: int = 1,
    ack: int = 0,
    buffers: int = 0,
    transfer: int = 0,
) -> bytes:
    return HEADER.pack(magic, version, flags, length, call, seq, ack, buffers, transfer)


SHAPES: dict[str, tuple[bytes, list[bytes]]] = {
    "nothing": (b"", []),
    "message": (b"hello", []),
    "one small buffer": (b"m", [b"x" * 30]),
    "empty buffers": (b"m", [b"", b"", b""]),
    "empty buffers around": (b"m", [b"", b"abc", b"", b"", b"def", b""]),
    "frame as large as staging": (b"m" * (STAGING - HEADER.size), []),
    "head one byte over staging": (b"m" * (STAGING - HEADER.size + 1), [b"abc"]),
    "long message": (bytes(range(256)) * 2000, [b"abc", b"", b"d" * 70_000]),
    "large buffer": (b"m", [b"", bytes(range(256)) * 1000, b"", b"tail"]),
    "buffer of own pages": (b"m", [b"0123456789abcdef" * (1 << 17), b"z"]),
    "thousands of small buffers": (b"m", [bytes([n % 256]) * (n % 90) for n in range(5000)]),
    "table over staging": (b"m", [b"ab"] * (STAGING // 8 + 1)),
}


@pytest.fixture(params=SHAPES, ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[bytes, list[bytes]]:
    return SHAPES[request.param]


@pytest.mark.parametrize("cut", [1 << 30, STAGING, 65_537, 4096, 41])
def test_any_shape_comes_out_whatever_the_cut(shape: tuple[bytes, list[bytes]], cut: int) -> None:
    """Each shape, between two small frames, comes out equal from pieces of any size."""
    message, buffers = shape
    data = wire(1, 1, b"before") + wire(2, 2, message, buffers, 7) + wire(3, 3, b"after", [b"!"])
    reader = FrameReader()
    want = [(1, 1, 0, b"before", []), (2, 2, 7, message, buffers), (3, 3, 0, b"after", [b"!"])]
    assert plain(feed(reader, data, cut)) == want
    assert reader.is_between_frames
    assert reader.last_seq == 3


@pytest.mark.parametrize(
    "name", [name for name, (m, b) in SHAPES.items() if len(m) + sum(map(len, b)) < 150_000]
)
def test_byte_by_byte(name: str) -> None:
    """Each shape comes out equal from single bytes, no frame before its last byte, and none after."""
    message, buffers = SHAPES[name]
    data = wire(5, 1, message, buffers)
    reader = FrameReader()
    for index, byte in enumerate(data):
        assert reader.is_between_frames == (index == 0)
        assert reader.last_seq == 0
        reader.buffer_to_fill()[0] = byte
        frames = reader.filled(1)
        assert bool(frames) == (index == len(data) - 1)
    assert plain(frames) == [(5, 1, 0, message, buffers)]
    assert reader.is_between_frames


@pytest.mark.parametrize("cut", range(1, 120))
def test_two_pieces(cut: int) -> None:
    """A pair of frames comes out equal when it is cut once, at every place."""
    data = wire(1, 1, b"message", [b"one", b"", b"three"]) + wire(2, 2, b"second")
    reader = FrameReader()
    frames = feed(reader, data[:cut]) + feed(reader, data[cut:])
    assert plain(frames) == [(1, 1, 0, b"message", [b"one", b"", b"three"]), (2, 2, 0, b"second", [])]


def test_many_frames_at_once() -> None:
    """Many small frames that came in one piece come out of one call."""
    data = b"".join(wire(n, n, b"m%d" % n, [b"b" * (n % 5)]) for n in range(1, 1001))
    reader = FrameReader()
    room = reader.buffer_to_fill()
    room[: len(data)] = data
    frames = reader.filled(len(data))
    assert plain(frames) == [(n, n, 0, b"m%d" % n, [b"b" * (n % 5)]) for n in range(1, 1001)]


def test_staging_turns_round() -> None:
    """Frames that straddle the end of the staging area come out whole, and there is always room."""
    reader = FrameReader()
    frames = feed(reader, b"".join(wire(n, n, b"m" * 50_000) for n in range(1, 60)), 99_991)
    assert [(f.seq, len(f.message)) for f in frames] == [(n, 50_000) for n in range(1, 60)]


def test_message_of_the_largest_size() -> None:
    """A message as large as the limit comes out; one byte more is refused by the header alone."""
    largest = WireLimits().message
    (frame,) = feed(FrameReader(), wire(1, 1, b"\xa5" * largest))
    assert frame.message == b"\xa5" * largest
    with pytest.raises(ProtocolError, match="over the limit"):
        feed(FrameReader(), header(length=largest + 1))


def test_buffers_are_writable_and_apart() -> None:
    """Received buffers are writable, and share no memory with the reader or with each other."""
    reader = FrameReader()
    (frame,) = feed(reader, wire(1, 1, b"m", [b"aaaa", b"bbbb"]))
    frame.buffers[0][:] = b"ZZZZ"
    (second,) = feed(reader, wire(1, 2, b"m", [b"cccc", b"dddd"]))
    assert plain([frame]) == [(1, 1, 0, b"m", [b"ZZZZ", b"bbbb"])]
    assert plain([second]) == [(1, 2, 0, b"m", [b"cccc", b"dddd"])]
    assert not any(b.readonly for b in frame.buffers)


def test_large_buffer_is_received_in_place() -> None:
    """What is missing of a large buffer is asked for at once, in the memory it stays in."""
    data = wire(1, 1, b"m", [b"x" * (1 << 22)])
    reader = FrameReader()
    assert feed(reader, data[:1000]) == []
    room = reader.buffer_to_fill()
    assert len(room) == len(data) - 1000
    room[:] = data[1000:]
    (frame,) = reader.filled(len(room))
    room[-1] = 7
    assert frame.buffers[0][-1] == 7


def test_how_far_a_frame_has_come() -> None:
    """While buffers are being filled their call, the bytes that are there and the total are told."""
    reader = FrameReader()
    assert reader.incoming == (0, 0, 0)
    data = wire(7, 1, b"m", [b"a" * 1000, b"b" * (3 * STAGING), b"c" * STAGING])
    body = len(data) - 1000 - 4 * STAGING
    assert feed(reader, data[: body + 500]) == []
    assert reader.incoming == (7, 500, 1000 + 4 * STAGING)
    assert feed(reader, data[body + 500 : body + 1000 + 2 * STAGING]) == []
    assert reader.incoming == (7, 1000 + 2 * STAGING, 1000 + 4 * STAGING)
    assert len(feed(reader, data[body + 1000 + 2 * STAGING :])) == 1
    assert reader.incoming == (0, 0, 0)


def test_small_buffers_are_received_together() -> None:
    """Thousands of small buffers cost as many receives as their bytes need, not one each."""
    data = wire(1, 1, b"m", [b"x" * 1000] * 3000)
    reader, receives, at = FrameReader(), 0, 0
    frames: list[Frame] = []
    while at < len(data):
        room = reader.buffer_to_fill()
        part = data[at : at + len(room)]
        room[: len(part)] = part
        frames += reader.filled(len(part))
        at += len(part)
        receives += 1
    assert len(frames) == 1
    assert receives <= len(data) // STAGING + 2


def test_last_seq_counts_complete_frames_only() -> None:
    """A frame whose buffers are still coming is not acknowledged."""
    data = wire(1, 1, b"m", [b"x" * 200_000])
    reader = FrameReader()
    feed(reader, data[:-1])
    assert reader.last_seq == 0
    assert not reader.is_between_frames
    feed(reader, data[-1:])
    assert reader.last_seq == 1


# ---------------------------------------------------------------- what is refused

ANNOUNCED = [
    header(length=(1 << 32) - 1),
    header(length=(64 << 20) + 1),
    header(buffers=(1 << 32) - 1),
    header(buffers=1) + (1 << 40).to_bytes(8, "big"),
    header(buffers=1) + (1 << 63).to_bytes(8, "big"),
    header(buffers=1) + b"\xff" * 8,
    header(buffers=2) + ((1 << 32) - 1).to_bytes(8, "big") + (2).to_bytes(8, "big"),
]


@pytest.mark.parametrize("data", ANNOUNCED, ids=range(len(ANNOUNCED)))
@pytest.mark.parametrize("cut", [1 << 30, 1])
def test_limits_hold_before_memory_is_taken(data: bytes, cut: int) -> None:
    """A frame that announces more than the limits is refused without memory taken for it."""
    reader = FrameReader()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="over the limit"):
            feed(reader, data, cut)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_limits_are_the_readers() -> None:
    """A control connection's reader takes no buffers and 4 MiB of message; a frame at a limit is taken."""
    with pytest.raises(ProtocolError, match="over the limit"):
        feed(FrameReader(CONTROL_LIMITS), wire(0, 1, b"m", [b""]))
    with pytest.raises(ProtocolError, match="over the limit"):
        feed(FrameReader(CONTROL_LIMITS), header(length=(4 << 20) + 1))
    limits = WireLimits(message=3, buffers=2, payload=5)
    assert len(feed(FrameReader(limits), wire(0, 1, b"abc", [b"ab", b"cde"]))) == 1
    for message, buffers in ((b"abcd", []), (b"", [b"", b"", b""]), (b"", [b"abc", b"def"])):
        with pytest.raises(ProtocolError, match="over the limit"):
            feed(FrameReader(limits), wire(0, 1, message, buffers))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"GET / HTTP/1.1\r\n", "no frame"),
        (b"\x16\x03\x01\x02\x00", "no frame"),
        (b"SSH-2.0-x", "no frame"),
        (header(magic=b"RM"), "no frame"),
        (header(version=2), "speaks version 2"),
        (header(flags=1), "unknown flags"),
        (header(transfer=1), "where there are none"),
        (header() + header(), "number 1 after 1"),
        (header(seq=3) + header(seq=2), "number 2 after 3"),
        (header(seq=2) + header(seq=0) + header(seq=2), "number 2 after 2"),
    ],
)
@pytest.mark.parametrize("cut", [1 << 30, 1])
def test_wrong_header(data: bytes, match: str, cut: int) -> None:
    """Another magic, version, flag or number is refused, and the error says which."""
    with pytest.raises(ProtocolError, match=match):
        feed(FrameReader(), data, cut)


@pytest.mark.parametrize("data", [b"G", b"RG", b"Rm\x02"])
def test_another_protocol_is_told_by_its_first_bytes(data: bytes) -> None:
    """The reader does not wait for a whole header of a protocol that is not ours."""
    with pytest.raises(ProtocolError):
        feed(FrameReader(), data)


# ---------------------------------------------------------------- encoding


def test_header_byte_by_byte() -> None:
    """A frame is what section 4 of the protocol page says it is."""
    (piece,) = encode_frame(0x0102030405060708, 9, 10, b"msg", [b"ab", b"", b"c"])
    fields = "526d 01 00 00000003 0102030405060708 0000000000000009 000000000000000a 00000003 00000000"
    table = b"".join(n.to_bytes(8, "big") for n in (2, 0, 1))
    assert piece == bytes.fromhex(fields) + b"msg" + table + b"abc"
    assert HEADER.size == 40


def test_small_frames_are_one_piece_and_large_ones_are_not_copied() -> None:
    """Up to `JOIN` bytes a frame is one piece; above, its buffers are referred to and empty ones left out."""
    assert len(encode_frame(1, 1, 0, b"m" * (JOIN - 3), [b"abc"])) == 1
    large = bytearray(JOIN)
    pieces = encode_frame(1, 1, 0, b"m", [b"", large, b""])
    assert len(pieces) == 2
    large[0] = 77
    assert pieces[1][0] == 77


def test_what_a_buffer_may_be() -> None:
    """Bytes, arrays of any item size and shape, and empty arrays of several dimensions are sent as bytes."""
    table = memoryview(bytes(range(24))).cast("I", (2, 3))
    numpy = pytest.importorskip("numpy")
    empty = memoryview(numpy.empty((0, 3)))
    buffers = [b"ab", bytearray(b"cd"), memoryview(b"efgh")[1:3], table, empty]
    (frame,) = feed(FrameReader(), b"".join(encode_frame(1, 1, 0, b"", buffers)))
    assert [bytes(b) for b in frame.buffers] == [b"ab", b"cd", b"fg", bytes(range(24)), b""]


# ---------------------------------------------------------------- any frames, any cuts, any bytes

# Bytes as (byte, times): their repr stays short.
sizes = st.one_of(
    st.integers(0, 200),
    st.integers(0, 200_000),
    st.sampled_from([STAGING - HEADER.size - 1, STAGING - HEADER.size, STAGING, 1 << 16, (1 << 16) - 1]),
)
runs = st.tuples(st.integers(0, 255), sizes)
numbers = st.integers(0, (1 << 64) - 1)


@settings(deadline=None)
@given(
    drawn=st.lists(st.tuples(numbers, numbers, runs, st.lists(runs, max_size=6)), max_size=6),
    cuts=st.lists(st.integers(1, 150_000), min_size=1, max_size=20),
)
def test_any_frames_through_any_cuts(
    drawn: list[tuple[int, int, tuple[int, int], list[tuple[int, int]]]], cuts: list[int]
) -> None:
    """Invariant: what is encoded comes out equal and in order, whatever the pieces it came in."""
    want = [
        (call, seq, ack, bytes([message[0]]) * message[1], [bytes([byte]) * n for byte, n in buffers])
        for seq, (call, ack, message, buffers) in enumerate(drawn, 1)
    ]
    data = b"".join(wire(call, seq, message, buffers, ack) for call, seq, ack, message, buffers in want)
    if cuts[-1] < 1000:
        cuts = [*cuts, 10_007]  # the last one is repeated
    reader = FrameReader()
    assert plain(feed(reader, data, *cuts)) == want
    assert reader.is_between_frames


@settings(deadline=None)
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                header,
                length=st.integers(0, 40),
                seq=st.integers(1, 3),
                buffers=st.integers(0, 3),
                flags=st.sampled_from([0, 0, 0, 1]),
            ),
            st.integers(0, 50).map(lambda n: n.to_bytes(8, "big")),
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(1, 100), min_size=1, max_size=10),
)
def test_any_bytes(pieces: list[bytes], cuts: list[int]) -> None:
    """Invariant: any bytes are frames or `ProtocolError`, the same ones whole and byte by byte."""
    data = b"".join(pieces)

    def outcome(*sizes: int) -> tuple[list[Plain], bool]:
        reader = FrameReader(WireLimits(payload=1 << 20))
        frames: list[Frame] = []
        rest, turn = data, 0
        try:
            while rest:
                room = reader.buffer_to_fill()
                n = min(len(room), sizes[min(turn, len(sizes) - 1)], len(rest))
                room[:n] = rest[:n]
                frames += reader.filled(n)
                rest, turn = rest[n:], turn + 1
        except ProtocolError:
            return plain(frames), True
        return plain(frames), False

    byte_by_byte, broken = outcome(1)
    some, also_broken = outcome(*cuts)
    assert also_broken == broken
    # In larger pieces, frames before the error may be lost with it; none is made up.
    assert some == byte_by_byte[: len(some)]
    assert broken or some == byte_by_byte


def test_more_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer within the limits for which there is no memory breaks this connection, and nothing else."""

    def refuse(size: int) -> memoryview:
        raise MemoryError(f"no memory for a buffer of {size:,} bytes")

    monkeypatch.setattr("rpc_magic.wire.frames.allocate", refuse)
    with pytest.raises(ProtocolError, match="no memory for a buffer of 2,000,000 bytes"):
        feed(FrameReader(), header(buffers=1) + (2_000_000).to_bytes(8, "big"))
