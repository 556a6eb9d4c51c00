"""The session's end of what it says: kept, replayed, dropped in the middle; over real sockets."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic.settings import WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import LARGE, digest_of, flat, spans
from rpc_magic.wire.frames import Frame
from rpc_magic.worker.backlog import Backlog
from rpc_magic.worker.datachannel import Chunks
from rpc_magic.worker.line import Line
from rpc_magic.worker.spool import Spool, make_file


class Client:
    """A client that can be cut off and come back."""

    def __init__(self, file: int, **limits: int) -> None:
        self.settings = WorkerSettings(**limits)
        self.spool = file
        self.line = Line(
            Spool(self.spool, self.settings.spool),
            Chunks(self.settings),
            self.settings,
            lambda channel: channel.close(),
        )
        self.taken: list[tuple[int, messages.Message, list[bytes]]] = []
        self.is_known: bool | None = None
        self.frames: FrameSocket | None = None

    def connect(self, client: bytes = b"me") -> bool:
        if self.frames is not None:
            self.cut()
        mine, theirs = socket.socketpair()
        last = self.frames.last_seq if self.frames is not None else 0
        resume = last + 1 if self.frames is not None else 0
        self.frames = FrameSocket(mine, last_seq=last)
        return self.line.adopt(theirs, client, resume)

    def cut(self) -> None:
        """The connection breaks; what is on its way is lost."""
        assert self.frames is not None
        self.frames.close()
        if self.line.channel is not None:
            self.line.lose(self.line.channel)

    def read(self, count: int, *, acknowledge: bool = True) -> None:
        """Read until so many numbered messages have come in all."""
        assert self.frames is not None
        deadline = time.monotonic() + 30
        while len(self.taken) < count:
            for frame in self.frames.read():
                self.take(frame)
            assert time.monotonic() < deadline, f"{len(self.taken)} of {count} messages came"
            time.sleep(0.001)
        if acknowledge:
            self.line.acknowledge(self.frames.last_seq)

    def take(self, frame: Frame) -> None:
        message = messages.decode_answer(frame.message)
        if isinstance(message, messages.Resumed):
            self.is_known = message.is_known
        elif frame.seq:
            self.taken.append((frame.seq, message, [bytes(b) for b in frame.buffers]))

    @property
    def text(self) -> str:
        return "".join(m.text for _, m, _ in self.taken if isinstance(m, messages.Stream))

    def close(self) -> None:
        if self.frames is not None:
            self.cut()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    one = Client(make_file(tmp_path / "spool"))
    yield one
    one.close()


def say(client: Client, text: str) -> None:
    client.line.send(client.line.calls.inside(1), messages.Stream("stdout", text))


def test_while_the_client_is_there(client: Client) -> None:
    """Messages are numbered from 1, kept until they are acknowledged, and nothing is written to disk."""
    assert not client.connect()
    for n in range(5):
        say(client, str(n))
    assert len(client.line._backlog.kept) == 5
    client.read(5)
    assert [number for number, *_ in client.taken] == [1, 2, 3, 4, 5]
    assert not client.line._backlog.kept
    assert not os.fstat(client.spool).st_size


def test_a_client_that_is_not_heard_of(client: Client) -> None:
    """What it may not have received goes to the spool, and nothing waits for it; it comes back as after a cut."""
    client.connect()
    say(client, "1")
    client.line.miss(b"other")
    assert client.line.channel is not None
    client.line.miss(b"me")
    assert client.line.channel is None
    assert b"1" in os.pread(client.spool, 1000, 0)
    say(client, "2")
    client.connect()
    client.read(2)
    assert client.text == "12"


def test_a_first_connection_that_never_came(client: Client) -> None:
    """Whoever was let in and lost on the way to the session goes on; who was here, and has been replaced, does not."""
    for name, is_known in ((b"me", True), (b"other", True), (b"me", False)):
        client.frames, lost = FrameSocket(socket.socket()), client.frames
        if lost is not None:
            lost.close()
        client.connect(name)
        read_answer(client)
        assert client.is_known is is_known


def read_answer(client: Client) -> None:
    assert client.frames is not None
    client.is_known = None
    deadline = time.monotonic() + 30
    while client.is_known is None:
        for frame in client.frames.read():
            client.take(frame)
        assert time.monotonic() < deadline


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.sampled_from(["say", "end", "cut", "connect", "read"]), max_size=30))
def test_any_cuts(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Invariant: whatever is cut when, each message comes once and in order."""
    client = Client(make_file(tmp_path_factory.mktemp("line") / "spool"))
    client.connect()
    said, is_connected = 0, True
    for step in steps:
        if step == "say":
            say(client, f"{said} ")
            said += 1
        elif step == "end":
            client.line.end(client.line.calls.inside(1), messages.Returned(), [b"x" * 3_000], lambda: None)
            said += 1
        elif step == "cut" and is_connected:
            client.cut()
            is_connected = False
        elif step == "connect" and not is_connected:
            assert client.connect()
            is_connected = True
        elif step == "read" and is_connected:
            client.read(said)
    if not is_connected:
        client.connect()
    client.read(said)
    assert [number for number, *_ in client.taken] == list(range(1, said + 1))
    assert os.fstat(client.spool).st_size == 0
    client.close()


def test_the_middle_of_the_output_is_dropped(tmp_path: Path) -> None:
    """First and last output is kept, a mark says how much is missing; outcomes are all there."""
    client = Client(make_file(tmp_path / "spool"), spool=10_000, last_output=10_000)
    client.connect()
    client.cut()
    for n in range(1000):
        say(client, f"{n:099d}\n")
        if n % 300 == 299:
            client.line.end(client.line.calls.inside(n), messages.Returned(), [b"%d" % n], lambda: None)
    client.connect()
    client.read(1, acknowledge=False)
    while not client.text.endswith(f"{999:099d}\n"):
        client.read(len(client.taken) + 1, acknowledge=False)
    text = client.text
    assert text.startswith(f"{0:099d}\n{1:099d}\n")
    assert "bytes of output were dropped here" in text
    assert len(text) < 30_000
    numbers = [number for number, *_ in client.taken]
    assert numbers == sorted(set(numbers))
    assert [buffers for _, m, buffers in client.taken if isinstance(m, messages.Returned)] == [
        [b"299"],
        [b"599"],
        [b"899"],
    ]
    client.close()


def test_what_has_come_takes_no_room(tmp_path: Path) -> None:
    """Output that came to the client while it was sent what it lacked does not count when the next is kept."""
    limits = WorkerSettings(last_output=1000, spool=0)
    spool = make_file(tmp_path / "spool")
    backlog = Backlog(Spool(spool, limits.spool), limits)

    def say(size: int) -> None:
        encoded = messages.encode(messages.Stream("stdout", "x" * size))
        backlog.keep(1, encoded, (), is_output=True, is_sent=False)

    say(600)
    backlog.resume(0)
    say(600)
    backlog.drop(2)
    backlog.rest.clear()
    say(600)
    say(300)
    backlog.resume(2)
    assert [(entry.number, entry.dropped) for entry in backlog.rest] == [(3, 0), (4, 0)]
    os.close(spool)


def test_a_full_disk() -> None:
    """Outcomes arrive though nothing can be written, and the output that was said last, however large they are."""
    client = Client(os.open("/dev/full", os.O_RDWR), last_output=1000)
    client.connect()
    client.cut()
    for n in range(100):
        say(client, f"{n:099d}\n")
    client.line.end(client.line.calls.inside(1), messages.Returned(), [b"v" * 100_000], lambda: None)
    client.connect()
    while "cannot be written there: No space left" not in client.text:
        client.read(len(client.taken) + 1, acknowledge=False)
    (outcome,) = (one for one in client.taken if isinstance(one[1], messages.Returned))
    assert outcome[2] == [b"v" * 100_000]
    assert f"{99:099d}\n" in client.text
    assert "dropped" in client.text
    client.close()


def test_values_are_copied_only_when_they_have_to_be(client: Client) -> None:
    """Objects of an outcome are not copied while nothing can change them, and are what they were afterwards."""
    client.connect()
    value = bytearray(b"x" * 100_000)
    client.line.end(client.line.calls.inside(1), messages.Returned(), [value], lambda: None)
    assert client.line._backlog.kept[0].buffers[0] is value
    client.line.settle()
    value[:] = b"y" * 100_000
    client.cut()
    client.connect()
    client.read(1)
    assert client.taken[0][2] == [b"x" * 100_000]


def test_a_large_outcome_waits_for_no_connection_that_is_gone(client: Client) -> None:
    """It has named chunks, and asks what the client lacks; this has broken, and is closed later."""
    client.connect()
    client.line._on_lost = lambda _: None
    channel, value = client.line.channel, b"x" * LARGE
    assert channel is not None
    channel.transfers.known.add_all(
        digest_of(value[start : start + size]) for start, size in spans(flat(value))
    )
    waits: list[int] = []

    def read() -> None:
        assert not waits, "it still waits"
        waits.append(1)
        channel.hang_up()
        client.line.lose(channel)

    client.line.end(client.line.calls.inside(1), messages.Returned(), [value], read)
    assert waits
    channel.close()
    (entry,) = client.line._backlog.kept
    assert client.line._backlog.content(entry)[1] == [value]


def test_another_client(client: Client) -> None:
    """It begins anew, and is told when it asks to go on with what was said to another one."""
    client.connect()
    say(client, "for the first one")
    client.read(1)
    assert not client.connect(b"other")
    say(client, "for the other one")
    assert client.frames is not None
    client.frames = FrameSocket(client.frames._sock)  # numbers from 1
    while client.is_known is None or len(client.taken) < 2:
        for frame in client.frames.read():
            client.take(frame)
    assert client.is_known is False
    assert client.taken[-1][:2] == (1, messages.Stream("stdout", "for the other one"))


def test_what_breaks_the_protocol_cannot_be_resumed(client: Client) -> None:
    """After it the client's numbers mean nothing any more."""
    client.connect()
    channel = client.line.channel
    assert channel is not None
    client.line.lose(channel, is_broken=True)
    assert not client.connect()
