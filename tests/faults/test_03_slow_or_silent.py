"""Row 3: one byte a second, or silence at any stage of the handshake: closed 10 s after accept, in total."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from checks import Server, serving, unharmed
from live import SECONDS, within
from strangers import dial, secure

from rpc_magic.wire.handshake import ClientHandshake, Role

HELLO = ClientHandshake("x", b"t" * 32, Role.CONTROL, b"c" * 16).hello
LOGGED = "a connection was closed before its proof: it took more than 10 s\n"


def silent(sock: socket.socket, _: bytes) -> None:
    """Say nothing (after the handshake of TLS, on a connection that has one)."""
    while sock.recv(1000):
        pass


def slow(sock: socket.socket, start: bytes) -> None:
    """Say a byte a second."""
    sock.settimeout(1.0)
    for byte in start:
        sock.sendall(bytes([byte]))
        with contextlib.suppress(TimeoutError):
            if not sock.recv(1000):
                return
    raise AssertionError("it was not closed")


def half(sock: socket.socket, start: bytes) -> None:
    """Say half of it, then nothing."""
    sock.sendall(start[: len(start) // 2])
    silent(sock, start)


def without_proof(sock: socket.socket, start: bytes) -> None:
    """Say a whole hello, and no proof."""
    sock.sendall(start)
    silent(sock, start)


def test_ten_seconds(tmp_path: Path) -> None:
    """At every stage, plainly, before TLS and inside it; a client with the token is served meanwhile."""
    (tmp_path / "tls").mkdir()
    with serving(tmp_path) as plain, serving(tmp_path / "tls", "--tls", "--port", "0") as tls:
        lives: list[float] = []

        def stay(
            server: Server,
            connect: Callable[[Server], socket.socket],
            manner: Callable[[socket.socket, bytes], None],
            start: bytes,
        ) -> None:
            began = time.monotonic()
            with connect(server) as sock, contextlib.suppress(ConnectionError):
                manner(sock, start)
            lives.append(time.monotonic() - began)

        tls_start = b"\x16\x03\x01\x02\x00\x01" + bytes(100)
        cases = [
            *[(plain, dial, manner, HELLO) for manner in (silent, slow, half, without_proof)],
            *[(tls, dial, manner, tls_start) for manner in (silent, slow, half)],
            *[(tls, secure, manner, HELLO) for manner in (silent, slow, half, without_proof)],
        ]
        with unharmed(plain, LOGGED), unharmed(tls, LOGGED), within(13):
            threads = [threading.Thread(target=stay, args=case) for case in cases]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SECONDS)
        assert len(lives) == len(cases)
        assert min(lives) > 9
        for server in (plain, tls):
            assert server.log.count("10 s") == 1
