"""Admission: from an accepted socket to a proved one, within ten seconds and a fixed number of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from functools import partial

from rpc_magic.errors import ProtocolError
from rpc_magic.server.certificates import Identity
from rpc_magic.server.channels import Channel, open_channel
from rpc_magic.server.crowd import Newcomer, origin_of, who_goes
from rpc_magic.server.strangers import StrangerLog
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

__all__ = ["Admission", "is_same_user"]

log = logging.getLogger(__name__)

_ROOM = 16
"""Descriptors that are not for new connections: sessions in use need some, and looking how a session is."""

_BRIEF_SECONDS = 1.0
"""For turning one client away, while nobody else is listened to."""


_WHY = {
    Verdict.BUSY: "as many clients are connected as the server takes",
    Verdict.NO_SUCH_SESSION: "what it was for is not, or no longer, there",
}
"""Why one that has proved itself is refused."""


class Admission:
    """Takes accepted connections through their handshake.

    Args:
        tokens: gives the tokens that are good now.
        settings: limits and times.
        check: says of a proved hello what its verdict is.
        admit: takes the connection over, as a plain socket, when the verdict was ADMITTED and has been sent.
        identity: the server's certificate and key; None without TLS.
    """

    def __init__(
        self,
        tokens: Callable[[], tuple[bytes, ...]],
        settings: ServerSettings,
        check: Callable[[Hello], Verdict],
        admit: Callable[[Hello, socket.socket], Awaitable[None]],
        identity: Identity | None = None,
    ) -> None:
        self._tokens, self._settings, self._identity = tokens, settings, identity
        self._check, self._admit = check, admit
        self._strangers = StrangerLog()
        self._refused = StrangerLog("a connection was refused")
        self._full = ""
        self._spare = _spare_descriptor()
        self._under_way: dict[Newcomer, asyncio.Task[None]] = {}  # in order of arrival

    async def accept_from(self, listener: socket.socket) -> None:
        """Accept connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, InterruptedError):
                await _until_readable(listener)
                continue
            except OSError as error:
                # No descriptors left, most likely: those who are connected go on, newcomers wait.
                self._note_full(error.strerror or str(error))
                await self._turn_away(listener)
                continue
            is_full = sock.fileno() >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _ROOM
            self._note_full("only some file descriptors are left" if is_full else "")
            unproved = [one for one in self._under_way if not one.is_proved]
            if len(unproved) >= self._settings.unproved:
                self._under_way.pop(who_goes(unproved)).cancel()
                self._strangers.note("it made room for newer ones")
            newcomer = Newcomer(origin_of(peer))
            task = self._under_way[newcomer] = loop.create_task(self._greet(sock, newcomer, is_full=is_full))
            task.add_done_callback(partial(self._forget, newcomer))
            await asyncio.sleep(0)  # those who have come get on, however many more wait to be accepted

    async def _turn_away(self, listener: socket.socket) -> None:
        """No descriptor is left: with the spare one, tell a client that has the token to try again later."""
        if self._spare >= 0:
            os.close(self._spare)
        with contextlib.suppress(OSError, TimeoutError):
            sock, peer = listener.accept()
            async with asyncio.timeout(_BRIEF_SECONDS):
                await self._greet(sock, Newcomer(origin_of(peer)), is_full=True)
        self._spare = _spare_descriptor()
        await asyncio.sleep(0.1)

    def _note_full(self, why: str) -> None:
        """New connections cannot be served, or (with no reason why) can be again."""
        if why and not self._full:
            log.warning("new connections are turned away: %s; sessions in use go on", why)
        self._full = why

    def _forget(self, newcomer: Newcomer, _: asyncio.Task[None]) -> None:
        self._under_way.pop(newcomer, None)

    async def _greet(self, sock: socket.socket, newcomer: Newcomer, *, is_full: bool) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            keep_alive(sock)
        keep = False
        try:
            if not is_same_user(sock):
                self._strangers.note("it belongs to another user")
                return
            async with asyncio.timeout(self._settings.handshake_seconds):
                channel = await open_channel(sock, self._identity, self._settings.unproved_bytes)
                hello, verdict = await self._handshake(channel, newcomer)
                if is_full and verdict is Verdict.ADMITTED:
                    verdict = Verdict.BUSY
                await channel.send(write_verdict(verdict))
            if verdict is Verdict.ADMITTED:
                plain, keep = channel.release(), True
                await self._admit(hello, plain)
        except TimeoutError:
            self._strangers.note(f"it took more than {self._settings.handshake_seconds:g} s")
        except (ProtocolError, ssl.SSLError):
            self._strangers.note("it speaks another protocol")
        except (OSError, EOFError):
            if newcomer.has_spoken and not newcomer.is_proved:
                self._strangers.note("it left in the middle of its handshake")
        finally:
            if not keep:
                sock.close()

    async def _handshake(self, channel: Channel, newcomer: Newcomer) -> tuple[Hello, Verdict]:
        start = await channel.receive(START_SIZE)
        check_start(start)
        handshake = ServerHandshake(self._tokens(), channel.binding)
        hello, challenge = handshake.challenge(start + await channel.receive(HELLO_SIZE - START_SIZE))
        newcomer.has_spoken = True
        await channel.send(challenge)
        if not handshake.is_proved(await channel.receive(PROOF_SIZE)):
            self._strangers.note("it had a wrong token")
            return hello, Verdict.REFUSED
        newcomer.is_proved = True
        verdict = self._check(hello)
        if verdict in _WHY:
            self._refused.note(_WHY[verdict])
        return hello, verdict


def _spare_descriptor() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return -1


async def _until_readable(listener: socket.socket) -> None:
    """Wait for the next connection.

    (``loop.sock_accept`` that is cancelled in the moment in which one comes loses it, and logs that as an error.)
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(listener, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(listener)


def is_same_user(sock: socket.socket) -> bool:
    """On a Unix socket the kernel says who is there: nobody else is even greeted (root may be)."""
    if sock.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack(
        "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return uid in {os.getuid(), 0}
