"""The pump: what goes in comes out, both ways at once, and ends reach the other side after everything else."""

from __future__ import annotations

import gc
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tlsends import connected, ends, shake_hands

from rpc_magic.transport import pump
from rpc_magic.transport.pump import start_pump

FACTOR = float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))
SECONDS = 30 * FACTOR


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The plain sockets of two pumps that are joined by TLS."""
    (client, near), (server, far) = connected()
    plain = start_pump(client, near), start_pump(server, far)
    for sock in plain:
        sock.settimeout(SECONDS)
    yield plain
    for sock in plain:
        sock.close()
    eventually(lambda: not pump._living)


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while more := sock.recv(1 << 20):
        data += more
    return bytes(data)


def test_both_ways_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """Megabytes in pieces of all sizes cross in both directions at once, whole and in order, then the end."""
    rng = random.Random(1)
    data = [rng.randbytes(3_000_000), rng.randbytes(5_000_000)]
    got: dict[int, bytes] = {}

    def send(n: int) -> None:
        rest = memoryview(data[n])
        while rest:
            size = rng.choice([1, 100, 20_000, 500_000])
            pair[n].sendall(rest[:size])
            rest = rest[size:]

    def receive(n: int) -> None:
        want = len(data[1 - n])
        parts = bytearray()
        while len(parts) < want:
            parts += pair[n].recv(1 << 16)
        got[n] = bytes(parts)

    threads = [threading.Thread(target=job, args=(n,)) for job in (send, receive) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert got == {0: data[1], 1: data[0]}


def test_an_end_comes_last(pair: tuple[socket.socket, socket.socket]) -> None:
    """What was said before a close arrives, though the other side goes on speaking; then the end."""
    near, far = pair
    far.sendall(bytes(100_000))  # nobody reads it
    near.sendall(b"x" * 2_000_000 if near.recv(1) else b"")
    near.close()
    assert read_all(far) == b"x" * 2_000_000


def test_a_slow_reader_is_felt(pair: tuple[socket.socket, socket.socket]) -> None:
    """Where nobody reads, the writer is stopped after some megabytes: the pump gathers nothing."""
    near, far = pair
    near.setblocking(False)
    sent = idle = 0
    while idle < 20:
        try:
            sent += near.send(bytes(1 << 16))
            idle = 0
        except BlockingIOError:
            idle += 1
            time.sleep(0.01)
    assert sent < 64 << 20
    near.settimeout(SECONDS)
    threading.Thread(target=near.close).start()
    assert len(read_all(far)) == sent


def test_a_network_that_breaks() -> None:
    """When the network is gone both plain sockets end, after what had arrived."""
    (client, near), (server, far) = connected()
    cut = socket.fromfd(near.fileno(), near.family, near.type)
    mine, theirs = start_pump(client, near), start_pump(server, far)
    with mine, theirs, cut:
        mine.sendall(b"before")
        theirs.settimeout(SECONDS)
        assert theirs.recv(10) == b"before"
        cut.shutdown(socket.SHUT_RDWR)
        assert theirs.recv(10) == b""
        mine.settimeout(SECONDS)
        assert mine.recv(10) == b""
    eventually(lambda: not pump._living)


def test_garbage_ends_it() -> None:
    """Bytes that are no record end the connection, and nothing of them is delivered."""
    (_, near), (server, far) = connected()
    with near, start_pump(server, far) as plain:
        near.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.settimeout(SECONDS)
        assert plain.recv(100) == b""
    eventually(lambda: not pump._living)


def test_nothing_is_left() -> None:
    """Descriptors and threads are gone when a connection has ended."""
    before, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(5):
        (client, near), (server, far) = connected()
        for sock in start_pump(client, near), start_pump(server, far):
            sock.close()
    gc.collect()
    eventually(lambda: not pump._living and threading.active_count() == threads)
    eventually(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)


PROGRAM = """
import socket, sys
sys.path.insert(0, sys.argv[1])
from tlsends import shake_hands
from rpc_magic.transport.pump import start_pump
from rpc_magic.transport.tls import TlsEnd, client_context
sock, tls = socket.create_connection(("127.0.0.1", int(sys.argv[2]))), TlsEnd(client_context(), is_server=False)
shake_hands(tls, sock)
plain = start_pump(tls, sock)
plain.sendall(bytes(500_000))
"""


def test_the_end_of_the_process_waits_for_what_was_said() -> None:
    """A program that sends and ends at once has sent it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(Path(__file__).parent), port])
        listener.settimeout(SECONDS)
        sock, _ = listener.accept()
    _, server = ends()
    shake_hands(server, sock)
    with start_pump(server, sock) as plain:
        plain.settimeout(SECONDS)
        assert len(read_all(plain)) == 500_000
    assert program.wait(SECONDS) == 0
    eventually(lambda: not pump._living)
