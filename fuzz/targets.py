"""What is fuzzed: each target takes any bytes and checks the one invariant of everything that reads from the network.

Parsed, or one of our own errors, `ProtocolError` above all; nothing else escapes, whatever was parsed can be said
again, and how the bytes were cut on their way changes nothing.

A target spends its bytes through `Dice`, so that a fuzzer that changes some of them changes some decisions: streams are
mostly right, and lie in one place. `python fuzz/run.py` runs all targets by Atheris; `tests/fuzz` runs them by
Hypothesis.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from rpc_magic.errors import AuthenticationError, ProtocolError, RpcMagicError
from rpc_magic.serial import decode_plain, encode_plain
from rpc_magic.settings import WireLimits
from rpc_magic.wire import control, handshake, internal, messages
from rpc_magic.wire.chunks import CHUNK, LARGE, Chunk, digest_of
from rpc_magic.wire.frames import Frame, FrameReader, encode_frame
from rpc_magic.wire.held import Blocks, HeldMemories
from rpc_magic.wire.incoming import PrivateMemories
from rpc_magic.wire.packing import pack, unpack_into
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Transfers

__all__ = ["TARGETS", "Dice", "run"]

T = TypeVar("T")

LIMITS = WireLimits(message=1 << 16, buffers=64, payload=4 * LARGE, waiting=1 << 16)
TOKEN = bytes(range(32))


class Dice:
    """Decisions that a run of bytes makes; all of them are 0 when it is used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_used_up(self) -> bool:
        return self._at >= len(self._data)

    def number(self, limit: int) -> int:
        """Return a number below `limit`, of at most 256."""
        self._at += 1
        return self._data[self._at - 1] % limit if self._at <= len(self._data) else 0

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(len(options))]

    def bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        return self.bytes(len(self._data))

    def perhaps(self, value: T, *lies: T) -> T:
        """Return the value, or, once in eight times, a lie."""
        roll = self.number(8 * len(lies))
        return lies[roll // 8] if roll % 8 == 7 else value

    def bent(self, data: bytes) -> bytes:
        """Return data, perhaps with a byte changed, cut, or with more behind it."""
        at = self.number(256) % max(1, len(data))
        match self.number(5):
            case 0 if data:
                return data[:at] + bytes([self.number(256)]) + data[at + 1 :]
            case 1:
                return data[:at]
            case 2:
                return data + self.bytes(self.number(9))
            case _:
                return data


# ---------------------------------------------------------------- frames

Given = list[tuple[int, int, int, bytes, list[bytes]]]


def _read(reader: FrameReader, data: bytes, size: int) -> list[Frame]:
    """Give bytes to a reader in pieces of `size` at most."""
    frames: list[Frame] = []
    view = memoryview(data)
    while view:
        room = reader.buffer_to_fill()
        n = min(len(room), size, len(view))
        room[:n] = view[:n]
        frames += reader.filled(n)
        view = view[n:]
    return frames


def _outcome(data: bytes, size: int, limits: WireLimits) -> tuple[Given, bool]:
    frames: list[Frame] = []
    reader = FrameReader(limits)
    try:
        for start in range(0, len(data), size):
            frames += _read(reader, data[start : start + size], size)
    except ProtocolError:
        return _plain(frames), True
    return _plain(frames), False


def _plain(frames: list[Frame]) -> Given:
    return [(f.call, f.seq, f.ack, f.message, [bytes(b) for b in f.buffers]) for f in frames]


def frames(data: bytes) -> None:
    """A stream of bytes gives the same frames whole, in pieces and byte by byte."""
    dice = Dice(data)
    limits = dice.pick([LIMITS, WireLimits(message=20, buffers=2, payload=30)])
    size = 1 + dice.number(60)
    if dice.number(2):
        stream = dice.rest()
    else:
        stream, seq = b"", 0
        while not dice.is_used_up:
            seq = dice.perhaps(seq + 1, 0, seq)
            buffers = [dice.bytes(dice.number(20)) for _ in range(dice.number(4))]
            pieces = encode_frame(dice.number(256), seq, dice.number(4), dice.bytes(dice.number(30)), buffers)
            stream += dice.bent(b"".join(pieces))
    each, is_broken = _outcome(stream, 1, limits)
    for pieces_of in (size, max(1, len(stream))):
        some, is_also_broken = _outcome(stream, pieces_of, limits)
        assert is_also_broken == is_broken
        assert some == each[: len(some)]  # frames that came with what was wrong are lost with it
        assert is_broken or some == each


# ---------------------------------------------------------------- handshake


def handshakes(data: bytes) -> None:
    """Both roles: a packet that was altered anywhere is refused, and never proves anything."""
    dice = Dice(data)
    client = handshake.ClientHandshake("here", TOKEN, dice.pick(list(handshake.Role)), bytes(16))
    server = handshake.ServerHandshake((TOKEN,) if dice.number(2) else (bytes(32), TOKEN))
    raw = dice.bytes(dice.number(120)) if dice.number(3) == 2 else None
    hello = raw if raw is not None else dice.bent(client.hello)
    try:
        handshake.check_start(hello[: handshake.START_SIZE])
        fields, challenge = server.challenge(hello)
        assert isinstance(fields.role, handshake.Role)
    except ProtocolError:
        assert hello != client.hello
        assert not server.is_proved(dice.bytes(32))
        return
    bent = dice.bent(challenge)
    try:
        proof = client.proof(bent)
    except (ProtocolError, AuthenticationError):
        proof = None
    # The second proof of a server with one token is noise, over which the client's own proof goes all the same.
    assert (proof is not None) >= (hello == client.hello and bent == challenge)
    offered = dice.bent(proof if proof is not None else dice.bytes(32))
    is_right = hello == client.hello and bent == challenge and offered == proof
    assert server.is_proved(offered) == is_right
    assert not server.is_proved(offered), "one attempt"
    verdict = dice.bent(handshake.write_verdict(dice.pick(list(handshake.Verdict))))
    with contextlib.suppress(ProtocolError):
        assert handshake.write_verdict(handshake.read_verdict(verdict)) == verdict


# ---------------------------------------------------------------- messages

_DECODERS: list[tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = [
    (control.decode_to_supervisor, control.encode),
    (control.decode_to_client, control.encode),
    (messages.decode_request, messages.encode),
    (messages.decode_answer, messages.encode),
    (messages.decode_transferring, messages.encode),
    (messages.decode_from_engine, messages.encode),
    (messages.decode_record, messages.encode_record),
    (internal.decode, internal.encode),
]


def decoders(data: bytes) -> None:
    """Every decoder: a message that can be said again, or `ProtocolError`."""
    dice = Dice(data)
    decode, encode = dice.pick(_DECODERS)
    text = dice.rest()
    try:
        message = decode(text)
    except ProtocolError:
        return
    if message is not None:
        said = encode(message)
        assert encode(decode(said)) == said


# ---------------------------------------------------------------- chunks

_CONTENT = [
    bytes([letter]) * size for letter, size in zip(b"abcde", (CHUNK, CHUNK, CHUNK, CHUNK, 1000), strict=True)
]


class _Receiver:
    """A side that takes chunks, as a session (`is_held`) or a client does."""

    def __init__(self, *, is_held: bool) -> None:
        store = ChunkStore(0 if is_held else 1 << 24)
        blocks = Blocks(store, 3 * LARGE)
        self.transfers = Transfers(
            store, LIMITS.payload, (lambda: HeldMemories(blocks)) if is_held else PrivateMemories
        )
        self.reader = FrameReader(LIMITS, self.transfers)
        self.said: list[Any] = []
        self.lacking: list[tuple[int, int]] = []

    def take(self, data: bytes, size: int) -> None:
        for frame in _read(self.reader, data, size):
            message = None
            if frame.message != b"frame":
                message = messages.decode_request(frame.message)
            if isinstance(message, (messages.AllNamed, messages.Lacking)):
                answer = self.transfers.answer(message)
                self.lacking = list(answer.chunks) if answer is not None else []
                self.said.append(answer)
            else:
                self.said.append((frame.seq, frame.message, [digest_of(b) for b in frame.buffers]))


class _Sender:
    """Says of a transfer what is mostly right."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._number = 1
        self._seq = 0
        self._told: dict[int, list[tuple[Chunk, bytes]]] = {}

    def step(self, lacking: list[tuple[int, int]]) -> bytes:
        dice = self._dice
        number = dice.perhaps(self._number, self._number + 1, 0)
        match dice.number(8):
            case 0 | 1 | 2 | 3:
                return self._parts(number, lacking)
            case 4:
                return self._frame(messages.encode(messages.AllNamed(number)), seq=0)
            case 5:
                digests = b"".join(digest_of(c) for c in _CONTENT[: dice.number(3)])
                return self._frame(messages.encode(messages.ForgetChunks(number, dice.bent(digests))), seq=0)
            case 6:
                places = [b""] * dice.perhaps(len(self._told), 0, 5)
                frame = self._frame(b"frame", places, transfer=dice.perhaps(self._number, 0))
                self._number, self._told = self._number + 1, {}
                return frame
            case _:
                return self._frame(messages.encode(messages.Lacking(number, ((0, dice.number(9)),))), seq=0)

    def _parts(self, number: int, lacking: list[tuple[int, int]]) -> bytes:
        dice = self._dice
        buffer = dice.number(2)
        told = self._told.setdefault(buffer, [])
        size = dice.perhaps(LARGE + 1000, LARGE, 3 * LARGE, 1 << 62)
        if lacking and dice.number(2):
            buffer, index = dice.pick(lacking)
            known = self._told.get(buffer, [])
            chosen = [known[index][1]] if index < len(known) else [dice.pick(_CONTENT)]
            start = known[index][0].start if index < len(known) else 0
            named = [False]
        else:
            chosen = [dice.pick(_CONTENT) for _ in range(1 + dice.number(2))]
            start = told[-1][0].start + told[-1][0].size if told else 0
            named = [bool(dice.number(2)) for _ in chosen]
            at = start
            for content in chosen:
                told.append((Chunk(at, len(content), b""), content))
                at += len(content)
        sizes = tuple(dice.perhaps(len(content), 0, 1, CHUNK) for content in chosen)
        digests = b"".join(dice.perhaps(digest_of(content), bytes(16)) for content in chosen)
        is_packed = dice.perhaps(False, True)
        message = messages.Parts(
            number,
            dice.perhaps(buffer, -1, 99),
            dice.perhaps(4 * LARGE, 0, 1 << 62),
            size,
            dice.perhaps(start, 0, -1),
            sizes,
            dice.perhaps(digests, digests[1:]),
            dice.perhaps(tuple(named), (True,)),
            is_packed,
        )
        data = [content for content, is_named in zip(chosen, named, strict=True) if not is_named]
        if is_packed:
            data = [dice.bent(pack(memoryview(content))) for content in data]
        return self._frame(messages.encode(message), dice.perhaps(data, [], [b"x"]), seq=0)

    def _frame(
        self, message: bytes, buffers: Sequence[bytes] = (), *, transfer: int = 0, seq: int | None = None
    ) -> bytes:
        if seq is None:
            seq = self._seq = self._seq + 1
        return b"".join(encode_frame(7, seq, 0, message, buffers, transfer))


_STEPS = 12


def chunks(data: bytes) -> None:
    """Transfers that lie: the same comes of them however they are cut, or `ProtocolError`."""
    dice = Dice(data)
    is_held = bool(dice.number(2))
    piece = dice.pick([999, 70_000, 300_000])
    sender, whole = _Sender(dice), _Receiver(is_held=is_held)
    stream = []
    is_broken = False
    for _ in range(_STEPS):
        if dice.is_used_up:
            break
        stream.append(sender.step(whole.lacking))
        try:
            whole.take(stream[-1], len(stream[-1]))
        except ProtocolError:
            is_broken = True
            break
    cut = _Receiver(is_held=is_held)
    is_also_broken = False
    try:
        for part in stream:
            cut.take(part, piece)
    except ProtocolError:
        is_also_broken = True
    assert (cut.said, is_also_broken) == (whole.said, is_broken)


_KNOWN = [np.random.default_rng(n).bytes(CHUNK) for n in range(3)]


def lacking(data: bytes) -> None:
    """What the other side says it lacks: no more is sent than was named, or `ProtocolError`."""
    dice = Dice(data)
    transfers = Transfers(ChunkStore(1 << 24), LIMITS.payload)
    transfers.known.add_all(map(digest_of, _KNOWN))
    outgoing = transfers.outgoing(b"frame", [b"".join(_KNOWN) + bytes(CHUNK)])
    assert outgoing is not None
    while not outgoing.is_waiting:
        outgoing.next()
    chosen = tuple((dice.perhaps(0, 1, -1), dice.number(6) - 1) for _ in range(dice.number(8)))
    try:
        transfers.answer(messages.Lacking(dice.perhaps(outgoing.number, 0, 2), chosen))
    except ProtocolError:
        return
    sent = list(iter(outgoing.next, None))
    assert len(sent) == len(set(chosen)) <= len(_KNOWN)


def packed(data: bytes) -> None:
    """A compressed chunk fills its place, or `ProtocolError`."""
    dice = Dice(data)
    content = dice.bytes(dice.number(200)) or b"x"
    text = dice.bent(pack(memoryview(content))) if dice.number(4) else dice.rest()
    target = bytearray(len(content))
    try:
        unpack_into(memoryview(target), text)
    except ProtocolError:
        assert text != pack(memoryview(content))


# ---------------------------------------------------------------- plain data

_NAMES = {
    "NoneType",
    "bool",
    "int",
    "float",
    "complex",
    "str",
    "bytes",
    "bytearray",
    "list",
    "tuple",
    "dict",
    "set",
}
_NAMES |= {"frozenset", "datetime", "date", "time", "timedelta", "timezone", "ZoneInfo", "ndarray", "Table"}


def plain(data: bytes) -> None:
    """Plain data are of the kinds that they are stated to be, and can be said again; or one of our errors."""
    dice = Dice(data)
    buffers = [dice.bytes(dice.number(40)) for _ in range(dice.number(3))]
    try:
        value = decode_plain([dice.rest(), *buffers])
    except RpcMagicError:
        return
    _check_kind(value)
    encode_plain(value)


def _check_kind(value: Any) -> None:
    kind = type(value)
    assert kind.__name__ in _NAMES or isinstance(value, np.generic), kind
    assert not (isinstance(value, (np.ndarray, np.generic)) and value.dtype.hasobject)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            _check_kind(item)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (frames, handshakes, decoders, chunks, lacking, packed, plain)
}


def run(data: bytes) -> None:
    """Run the target that the first byte names on the others."""
    if data:
        list(TARGETS.values())[data[0] % len(TARGETS)](data[1:])
