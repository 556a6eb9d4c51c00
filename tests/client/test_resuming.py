"""A link goes on, on one connection after another, whatever becomes of them and in which order that is noticed."""

from __future__ import annotations

import os
import queue
import socket
import types
from collections.abc import Iterator

import pytest
from live import SECONDS, eventually

from rpc_magic.client.link import Link
from rpc_magic.client.recovery import Recovery
from rpc_magic.settings import ClientSettings, WireLimits
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role

RESUMED = messages.encode(messages.Resumed(True))
TEXT = messages.encode(messages.Stream("stdout", "text"))


class Ends:
    """A link, and the other ends of its connections."""

    def __init__(self) -> None:
        self.io, self.said, self.gone = IoThread(), queue.SimpleQueue[bool](), list[str]()
        self.others: list[FrameSocket] = []
        self.strays = queue.SimpleQueue[messages.Message]()
        self.other, sock = self.pair()
        self.first = sock.fileno()
        self.link = Link(sock, self.io, 1 << 30, self.lost, lambda _, message, __: self.strays.put(message))
        self.link.on_resumed = self.said.put

    def pair(self) -> tuple[FrameSocket, socket.socket]:
        here, there = socket.socketpair()
        self.others.append(FrameSocket(there, WireLimits()))
        return self.others[-1], here

    def lost(self, detail: str, can_resume: bool) -> None:
        self.gone.append(detail if can_resume else f"for good: {detail}")

    def do(self, *jobs: object) -> list[object]:
        """Have them done on the I/O thread, with nothing between them."""
        results: queue.SimpleQueue[list[object]] = queue.SimpleQueue()
        self.io.do(lambda: results.put([job() for job in jobs]))  # type: ignore[operator]
        return results.get(timeout=SECONDS)

    def resume(self, due: int) -> tuple[FrameSocket, bool]:
        other, sock = self.pair()
        return other, bool(self.do(lambda: self.link.resume(sock, due))[0])

    def goes_on(self, other: FrameSocket) -> bool:
        other.send(0, RESUMED, number=0)
        return self.said.get(timeout=SECONDS)


@pytest.fixture
def ends() -> Iterator[Ends]:
    it = Ends()
    yield it
    it.link.close(EOFError())
    it.io.end()
    it.io.join(SECONDS)
    for other in it.others:
        other.close()


def test_what_came_after_a_connection_was_asked_for(ends: Ends) -> None:
    """It would come once more on that connection, which is not taken; the next one is."""
    ends.do(ends.link.cut)
    due = ends.link.due
    other, is_taken = ends.resume(due)
    assert is_taken
    assert ends.goes_on(other)
    other.send(0, TEXT, number=1)
    ends.strays.get(timeout=SECONDS)
    ends.do(ends.link.cut)
    late, is_taken = ends.resume(due)
    assert not is_taken
    with pytest.raises(EOFError):
        late.read()
    again, is_taken = ends.resume(ends.link.due)
    assert is_taken
    assert ends.goes_on(again)
    again.send(0, TEXT, number=2)
    ends.strays.get(timeout=SECONDS)
    assert not any("for good" in detail for detail in ends.gone)


def test_another_connection_before_the_former_one_is_closed(ends: Ends) -> None:
    """The former one's descriptor is given back, and is heard when it is the number of a later connection."""
    (other, second), (third, sock) = ends.pair(), ends.pair()
    ends.do(ends.link.cut, lambda: ends.link.resume(second, ends.link.due))
    assert ends.goes_on(other)
    ends.do(lambda: None)  # by now it is closed
    os.dup2(sock.fileno(), ends.first)
    sock.close()
    ends.do(ends.link.cut)
    ends.do(lambda: ends.link.resume(socket.socket(fileno=ends.first), ends.link.due))
    assert ends.goes_on(third)


def test_a_connection_on_which_nobody_goes_on(ends: Ends) -> None:
    """It is given up when its time is over: it would keep all others from the link."""
    ends.do(ends.link.cut)
    _, sock = ends.pair()
    attachment = types.SimpleNamespace(
        state="reconnecting",
        io=ends.io,
        dial=lambda *_: sock,
        welcome=types.SimpleNamespace(has_functions=True),
        links={Role.ENGINE: ends.link},
    )
    recovery = Recovery(attachment, ClientSettings(connect_seconds=0.01))  # type: ignore[arg-type]
    assert not recovery._resume(Role.ENGINE, ends.link)
    eventually(lambda: len(ends.gone) == 2)
    other, is_taken = ends.resume(ends.link.due)
    assert is_taken
    assert ends.goes_on(other)
    recovery.end()
