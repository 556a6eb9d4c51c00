"""Packets with descriptors over real sequenced-packet sockets."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpc_magic.errors import LimitError, ProtocolError
from rpc_magic.transport import PacketSocket
from rpc_magic.transport.packets import MAX_DESCRIPTORS, MAX_PACKET, close_all
from rpc_magic.wire import internal

SECONDS = 60.0

pytestmark = pytest.mark.skipif(not hasattr(socket, "SOCK_SEQPACKET"), reason="needs sequenced packets")


@pytest.fixture
def pair() -> Iterator[tuple[PacketSocket, PacketSocket]]:
    """Two joined packet sockets."""
    one, other = PacketSocket.pair()
    yield one, other
    one.close()
    other.close()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_messages_stay_apart_and_in_order(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """Each message is received on its own, in order, both ways."""
    one, other = pair
    assert other.receive() is None
    assert not other.wait(0)
    messages = [internal.EndAll(), internal.Exited(b"t" * 16, 7, "killed by SIGSEGV", "x\n" * 100)]
    for message in messages:
        assert one.try_send(message)
    other.send(internal.Synced(3))
    assert other.wait(SECONDS)
    assert [other.receive(), other.receive(), other.receive()] == [*[(m, []) for m in messages], None]
    assert one.receive() == (internal.Synced(3), [])


def test_descriptors_pass_and_work(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """Descriptors arrive as copies, in order, not inherited by children; they work after ours are closed."""
    one, other = pair
    pipes = [os.pipe() for _ in range(3)]
    assert one.try_send(internal.Adopt(2, b"c" * 16, 0), [writing for _, writing in pipes])
    for _, writing in pipes:
        os.close(writing)
    received = other.receive()
    assert received is not None
    message, descriptors = received
    assert message == internal.Adopt(2, b"c" * 16, 0)
    assert len(descriptors) == 3
    assert not any(map(os.get_inheritable, descriptors))
    for n, ((reading, _), writing) in enumerate(zip(pipes, descriptors, strict=True)):
        os.write(writing, b"%d" % n)
        os.close(writing)
        assert os.read(reading, 10) == b"%d" % n
        assert os.read(reading, 10) == b""
        os.close(reading)


def test_as_many_descriptors_as_linux_passes(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """The largest number of descriptors arrives; one more is a LimitError, not a cut message."""
    one, other = pair
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        assert one.try_send(internal.EngineForked(()), [descriptor] * MAX_DESCRIPTORS)
        received = other.receive()
        assert received is not None
        assert len(received[1]) == MAX_DESCRIPTORS
        close_all(received[1])
        with pytest.raises(LimitError, match="descriptors"):
            one.try_send(internal.EngineForked(()), [descriptor] * (MAX_DESCRIPTORS + 1))
    finally:
        os.close(descriptor)


def test_end(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """What was sent before the end is received, then EOFError; sending to nobody is an OSError."""
    one, other = pair
    one.send(internal.EndAll())
    one.close()
    assert one.fileno() == -1
    assert other.wait(SECONDS)
    assert other.receive() == (internal.EndAll(), [])
    for _ in range(2):
        with pytest.raises(EOFError):
            other.receive()
    with pytest.raises(OSError):  # noqa: PT011 - broken pipe
        other.try_send(internal.EndAll())


def test_end_with_unread_messages(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """A peer that ended without reading what we sent: what it said before comes, then EOFError."""
    one, other = pair
    other.send(internal.EndAll())
    one.send(internal.Synced(1))
    one.close()
    assert other.receive() == (internal.Synced(1), [])
    with pytest.raises(EOFError):
        other.receive()


def test_too_large(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """A message over the packet limit, or the system's smaller one, is a LimitError; the socket goes on."""
    one, other = pair
    with pytest.raises(LimitError, match="internal message"):
        one.try_send(internal.Drained(1, b"x" * MAX_PACKET))
    one._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
    with pytest.raises(LimitError, match="internal message"):
        one.send(internal.Drained(1, b"x" * (1 << 18)))
    one.send(internal.EndAll())
    assert other.receive() == (internal.EndAll(), [])


def test_full_queue(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """While the peer does not read, try_send says False without waiting, and send waits for room."""
    one, other = pair
    message = internal.Drained(1, b"x" * 1000)
    count = 0
    while one.try_send(message):
        count += 1
        assert count < 100_000
    assert count > 0
    assert not one.try_send(message)
    thread = threading.Thread(target=one.send, args=(internal.EndAll(),), daemon=True)
    thread.start()
    received = []
    while len(received) <= count:
        assert other.wait(SECONDS)
        received.append(other.receive())
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert received == [(message, [])] * count + [(internal.EndAll(), [])]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
def test_no_descriptor_leaks(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """Descriptors beside a packet that cannot be read are closed."""
    one, other = pair
    reading, writing = os.pipe()
    for packet in (b"\x80\x04", b"\x91\x7f", b"x" * 100):
        socket.send_fds(one._sock, [packet], [writing, writing])
        before = open_descriptors()
        with pytest.raises(ProtocolError):
            other.receive()
        assert open_descriptors() == before
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_no_descriptors_left(pair: tuple[PacketSocket, PacketSocket]) -> None:
    """A receiver without descriptors left gets the message without those beside it, keeps none, and gets the next."""
    one, other = pair
    reading, writing = os.pipe()
    assert one.try_send(internal.EndAll(), [writing] * 8)
    one.send(internal.Synced(1))
    os.close(writing)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(reading)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert other.receive() == (internal.EndAll(), [])
        assert other.receive() == (internal.Synced(1), [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_from_descriptor() -> None:
    """An inherited descriptor is taken over and closed with the socket."""
    one, theirs = PacketSocket.pair()
    descriptor = os.dup(theirs.fileno())
    theirs.close()
    other = PacketSocket.from_descriptor(descriptor)
    one.send(internal.SyncOutput(5))
    assert other.receive() == (internal.SyncOutput(5), [])
    other.close()
    with pytest.raises(OSError):  # noqa: PT011 - bad descriptor
        os.fstat(descriptor)
    one.close()
