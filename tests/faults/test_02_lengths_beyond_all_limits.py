"""Row 2: a length of 0, negative, 2^31, 2^63, 2^64 - 1: closed before any memory is taken for it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from checks import Server, serving, unharmed
from live import family, within
from speaking import attached, token_of
from strangers import dial, is_closed, prove

from rpc_magic.wire import messages
from rpc_magic.wire.frames import HEADER, MAGIC, VERSION
from rpc_magic.wire.handshake import Role, Verdict

SHORT = [0, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
LONG = [1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
KEPT = messages.encode(messages.Put())


def header(length: int, buffers: int = 0) -> bytes:
    return HEADER.pack(MAGIC, VERSION, 0, length, 1, 1, 0, buffers, 0)


def lengths(*, is_data: bool) -> Iterator[bytes]:
    """Frames whose lengths lie, as the bytes that a reader has when it must decide."""
    for n in SHORT:
        yield header(n) if n else header(0) + header(0)
        if n:
            yield header(2, buffers=n) + KEPT
    if is_data:
        for n in LONG:
            if n > 1 << 32:
                yield header(len(KEPT), buffers=1) + KEPT + struct.pack("!Q", n)
            yield header(len(KEPT), buffers=2) + KEPT + struct.pack("!QQ", n, (1 << 32) + 1)
        yield header(len(KEPT), buffers=1) + KEPT + struct.pack("!q", -1)


def memory(server: Server) -> int:
    """Bytes of all processes of the server, what they could touch without asking included."""
    total = 0
    for pid in family(server.process.pid):
        with contextlib.suppress(psutil.Error):  # it has just ended
            total += psutil.Process(pid).memory_info().rss
    return total


def test_before_the_proof(server: Server) -> None:
    """There is no length before the proof: numbers in a hello's place are a hello or none, and no more is read."""
    with unharmed(server, "before its proof"):
        for n in (*SHORT, *LONG):
            with dial(server) as sock:
                sock.sendall(struct.pack("!Q", n) * 1000)
                assert is_closed(sock)


@pytest.mark.parametrize("role", [Role.CONTROL, Role.DATA, Role.ENGINE], ids=lambda role: role.name)
def test_lengths(server: Server, role: Role) -> None:
    """After the proof each frame's lengths are checked first: the connection is closed at once, and nothing grows."""
    with (
        unharmed(server, f"a {role.name.lower()} connection was closed: it broke the protocol"),
        attached(server, "") as held,
    ):
        before = memory(server)
        for sent in lengths(is_data=role is not Role.CONTROL):
            ticket = bytes(16) if role is Role.CONTROL else held.ticket
            with within(5), dial(server) as sock, contextlib.suppress(ConnectionError):
                assert prove(sock, token_of(server), role, ticket) is Verdict.ADMITTED
                sock.sendall(sent)
                while sock.recv(1 << 16):
                    pass
        assert memory(server) < before + 100_000_000


def test_lengths_of_calls_by_name(tmp_path: Path) -> None:
    """The same where functions are exposed."""
    (tmp_path / "adding.py").write_text("def add(a, b):\n    return a + b\n")
    with (
        serving(tmp_path, "--port", "0", "--expose", "adding") as server,
        unharmed(server, "a functions connection was closed: it broke the protocol"),
    ):
        for sent in lengths(is_data=False):
            with dial(server) as sock, contextlib.suppress(ConnectionError):
                assert prove(sock, token_of(server), Role.FUNCTIONS) is Verdict.ADMITTED
                sock.sendall(sent)
                while sock.recv(1 << 16):
                    pass
