"""What calls by name answer: kept until it is acknowledged, sent again to who comes back, forgotten after a time."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from live import eventually

from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.worker.callers import Caller, Callers
from rpc_magic.worker.replies import Replies


class Client:
    """The other end of a connection."""

    def __init__(self, last: int = 0) -> None:
        mine, self.theirs = socket.socketpair()
        self.frames = FrameSocket(mine, last_seq=last)
        self.taken: list[tuple[int, int, messages.Message, list[bytes]]] = []

    def read(self, count: int) -> None:
        """Read until so many messages have come."""

        def have_come() -> bool:
            self.taken += [
                (
                    frame.seq,
                    frame.call,
                    messages.decode_answer(frame.message),
                    [bytes(b) for b in frame.buffers],
                )
                for frame in self.frames.read()
            ]
            return len(self.taken) >= count

        eventually(have_come)


@pytest.fixture
def replies() -> Iterator[Replies]:
    """Those of one client, which has not connected yet."""
    one = Replies(b"me", WireLimits())
    yield one
    channel = one.lose()
    if channel is not None:
        channel.close()


def test_what_was_not_received_comes_again(replies: Replies) -> None:
    """Outcomes that are not acknowledged come again with their numbers; those that are, and all others, come once."""
    client = Client()
    replies.adopt(client.theirs, 0)
    for call in (11, 12):
        replies.send(call, messages.Returned())
    client.read(2)
    assert [(seq, call) for seq, call, *_ in client.taken] == [(1, 11), (2, 12)]
    client.frames.close()
    replies.lose().close()
    replies.send(13, messages.Returned())
    again = Client(last=1)
    replies.adopt(again.theirs, 2)
    again.read(3)
    assert again.taken[0][2] == messages.Resumed(True)
    assert [(seq, call) for seq, call, *_ in again.taken[1:]] == [(2, 12), (3, 13)]
    again.frames.send(0, messages.encode(messages.Acknowledge()), number=0)
    eventually(lambda: (replies.read(), not replies._kept)[1])
    again.frames.close()


def first_again(replies: Replies, frames: int) -> list[bytes]:
    """Return the buffers of the first outcome, as it comes again on another connection with as many frames in all."""
    again = Client()
    replies.adopt(again.theirs, 1)
    again.read(frames)
    again.frames.close()
    return again.taken[1][3]


@pytest.mark.parametrize("event", ["next call", "cut"])
def test_objects_that_change(replies: Replies, event: str) -> None:
    """What an outcome refers to is copied before the next function runs, and when the connection is lost."""
    data = bytearray(b"then")
    client = Client()
    replies.adopt(client.theirs, 0)
    replies.send(1, messages.Returned(), [memoryview(data)])
    if event == "next call":
        replies.settle()
    replies.lose().close()
    data[:] = b"now!"
    assert first_again(replies, 2) == [b"then"]
    client.frames.close()


def test_objects_that_change_behind_an_answer_without_any(replies: Replies) -> None:
    """What an outcome refers to is copied, too, when another one has been sent after it that refers to nothing."""
    data = bytearray(b"then")
    client = Client()
    replies.adopt(client.theirs, 0)
    replies.send(1, messages.Returned(), [memoryview(data)])
    replies.send(2, messages.Returned())
    replies.settle()
    data[:] = b"now!"
    replies.lose().close()
    assert first_again(replies, 3) == [b"then"]
    client.frames.close()


def test_objects_that_change_on_their_way(replies: Replies) -> None:
    """What the client has not taken from its connection yet comes as it was when it was sent."""
    data = bytearray(20_000_000)
    client = Client()
    replies.adopt(client.theirs, 0)
    assert not replies.send(1, messages.Returned(), [memoryview(data)])
    replies.settle()
    data[:] = b"x" * len(data)
    flushing = threading.Thread(target=replies.channel.flush_all)
    flushing.start()
    client.read(1)
    flushing.join()
    assert not any(client.taken[0][3][0])
    client.frames.close()


def test_one_that_never_was_here(replies: Replies) -> None:
    """A client that wants to go on where nothing is known of it is told so."""
    client = Client()
    replies.adopt(client.theirs, 1)
    client.read(1)
    assert client.taken[0][2] == messages.Resumed(False)
    client.frames.close()


@pytest.mark.parametrize("way", ["time", "leave", "broken"])
def test_forgotten(way: str) -> None:
    """A client is forgotten when its time is over, when it says that it leaves, and when it breaks the protocol."""
    io, taken = IoThread(), list[tuple[Caller, int]]()
    settings = WorkerSettings(return_seconds=0.2 if way == "time" else 600.0)
    callers = Callers(io, lambda caller, call, *_: taken.append((caller, call)), settings)
    client = Client()
    callers.adopt(client.theirs, b"me", 0)
    client.frames.send(5, messages.encode(messages.ListFunctions()))
    eventually(lambda: taken)
    taken[0][0].answer(5, messages.Returned())
    client.read(1)
    if way == "leave":
        client.frames.send(0, messages.encode(messages.Leave()), number=0)
    elif way == "broken":
        client.frames.send(6, messages.encode(messages.Returned()))
    else:
        client.frames.close()
    eventually(lambda: not callers._callers)
    again = Client(last=1)
    callers.adopt(again.theirs, b"me", 2)
    again.read(1)
    assert again.taken[0][2] == messages.Resumed(False)
    client.frames.close()
    again.frames.close()
    callers.close(())
    io.end()
    io.join(10)
