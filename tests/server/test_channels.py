"""Channels: exactly what is due is read, and what follows is there for who gets the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from live import SECONDS

from rpc_magic.errors import ProtocolError
from rpc_magic.server.certificates import Identity, find_identity
from rpc_magic.server.channels import Channel, open_channel
from rpc_magic.transport.tls import client_context


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """A server's."""
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "r"))
    return find_identity()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket, and the server's, which does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.settimeout(SECONDS)
    far.setblocking(False)
    with near, far:
        yield near, far


def greet(
    far: socket.socket,
    identity: Identity | None,
    talk: Callable[[Channel], Coroutine[None, None, socket.socket]],
) -> socket.socket:
    """Open a channel and talk over it."""

    async def main() -> socket.socket:
        async with asyncio.timeout(SECONDS):
            return await talk(await open_channel(far, identity, 1 << 15))

    return asyncio.run(main())


def say(near: socket.socket, identity: Identity | None, heard: list[bytes]) -> threading.Thread:
    """A client that says all at once, and then listens."""

    def run() -> None:
        with client_context().wrap_socket(near) if identity is not None else near as sock:
            sock.sendall(b"hello" + b"frames")
            with contextlib.suppress(OSError):
                while data := sock.recv(100):
                    heard.append(data)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("is_secure", [False, True])
def test_exactly_what_is_due(
    ends: tuple[socket.socket, socket.socket], identity: Identity, is_secure: bool
) -> None:
    """What was sent behind it is read from the released socket; what is said there arrives."""
    near, far = ends
    chosen = identity if is_secure else None
    heard: list[bytes] = []
    thread = say(near, chosen, heard)

    async def talk(channel: Channel) -> socket.socket:
        assert channel.binding == (identity.hash if is_secure else b"")
        assert await channel.receive(5) == b"hello"
        await channel.send(b"welcome")
        return channel.release()

    with greet(far, chosen, talk) as plain:
        plain.setblocking(True)
        plain.settimeout(SECONDS)
        assert plain.recv(100) == b"frames"
        plain.sendall(b", stranger")
        plain.shutdown(socket.SHUT_RDWR)
    thread.join(SECONDS)
    assert b"".join(heard) == b"welcome, stranger"


@pytest.mark.parametrize("is_secure", [False, True])
def test_an_end_too_early(
    ends: tuple[socket.socket, socket.socket], identity: Identity, is_secure: bool
) -> None:
    """A client that closes before it has said what is due is told from one that is slow."""
    near, far = ends

    def run() -> None:
        sock = client_context().wrap_socket(near) if is_secure else near
        sock.sendall(b"he")
        sock.close()

    thread = threading.Thread(target=run)
    thread.start()

    async def talk(channel: Channel) -> socket.socket:
        with pytest.raises((EOFError, ConnectionError, ssl.SSLError)):
            await channel.receive(5)
        return far

    greet(far, identity if is_secure else None, talk)
    thread.join(SECONDS)


def test_too_much_before_the_proof(ends: tuple[socket.socket, socket.socket], identity: Identity) -> None:
    """What comes inside TLS before the proof is bounded, however it is read."""
    near, far = ends

    def run() -> None:
        with contextlib.suppress(OSError), client_context().wrap_socket(near) as sock:
            for _ in range(100):
                sock.sendall(bytes(1 << 14))

    thread = threading.Thread(target=run)
    thread.start()

    async def talk(channel: Channel) -> socket.socket:
        with pytest.raises(ProtocolError, match="too much"):
            await channel.receive(1 << 20)
        return far

    greet(far, identity, talk).close()
    thread.join(SECONDS)
