"""Admission: from an accepted socket to a proved one, within ten seconds and a fixed number of bytes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import ServerSettings
from rpc_magic.transport.keepalive import keep_alive
from rpc_magic.wire.handshake import (
    HELLO_SIZE,
    PROOF_SIZE,
    START_SIZE,
    Hello,
    ServerHandshake,
    Verdict,
    check_start,
    write_verdict,
)

__all__ = ["Admission"]

log = logging.getLogger(__name__)


class Admission:
    """Takes accepted connections through their handshake.

    What comes before the proof is read with ``sock_recv`` for exactly its length: not a byte more is taken, so the
    socket can then be given to another process.

    Args:
        tokens: the tokens that are good now.
        settings: limits and times.
        check: says of a proved hello what its verdict is.
        admit: takes the socket over when the verdict was ADMITTED and has been sent.
    """

    def __init__(
        self,
        tokens: tuple[bytes, ...],
        settings: ServerSettings,
        check: Callable[[Hello], Verdict],
        admit: Callable[[Hello, socket.socket], Awaitable[None]],
    ) -> None:
        self._tokens, self._settings = tokens, settings
        self._check, self._admit = check, admit
        self._under_way: dict[asyncio.Task[None], None] = {}  # in order of arrival

    async def accept_from(self, listener: socket.socket) -> None:
        """Accept connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:
                # No descriptors left, most likely: those who are connected go on, newcomers wait.
                log.warning("no connection can be accepted just now: %s", error.strerror)
                await asyncio.sleep(0.1)
                continue
            if len(self._under_way) >= self._settings.unproved:
                # The oldest makes room: whoever knows the token is through long before it is the oldest.
                oldest = next(iter(self._under_way))
                del self._under_way[oldest]
                oldest.cancel()
            task = loop.create_task(self._greet(sock))
            self._under_way[task] = None
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)

    async def _greet(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            keep_alive(sock)
        keep = False
        try:
            if not _is_same_user(sock):
                return
            async with asyncio.timeout(self._settings.handshake_seconds):
                hello, verdict = await self._handshake(sock)
                if verdict is not None:
                    await asyncio.get_running_loop().sock_sendall(sock, write_verdict(verdict))
            if hello is not None and verdict is Verdict.ADMITTED:
                keep = True
                await self._admit(hello, sock)
        except (TimeoutError, OSError, EOFError):
            pass
        except ProtocolError as error:
            log.info("a connection was closed before its proof: %s", error)
        finally:
            if not keep:
                sock.close()

    async def _handshake(self, sock: socket.socket) -> tuple[Hello | None, Verdict | None]:
        start = await _receive(sock, START_SIZE)
        check_start(start)
        handshake = ServerHandshake(self._tokens)
        hello, challenge = handshake.challenge(start + await _receive(sock, HELLO_SIZE - START_SIZE))
        await asyncio.get_running_loop().sock_sendall(sock, challenge)
        if not handshake.is_proved(await _receive(sock, PROOF_SIZE)):
            log.warning("a connection with a wrong token was refused")
            return None, Verdict.REFUSED
        return hello, self._check(hello)


async def _receive(sock: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _is_same_user(sock: socket.socket) -> bool:
    """On a Unix socket the kernel says who is there: nobody else is even greeted (root may be)."""
    if sock.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack(
        "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return uid in {os.getuid(), 0}
