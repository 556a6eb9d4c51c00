"""Admission: whom the system says to be at the other end of a Unix socket. The rest is shown in tests/faults."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import pytest

from rpc_magic.server.admission import Admission, Verdict, is_same_user
from rpc_magic.settings import ServerSettings


class Peer:
    """A socket whose other end belongs to a user."""

    def __init__(self, uid: int, family: int = socket.AF_UNIX) -> None:
        self.uid, self.family = uid, family

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return struct.pack("3i", 1, self.uid, 1)


@pytest.mark.parametrize("uid", [os.getuid(), 0])
def test_the_user_and_root_are_greeted(uid: int) -> None:
    """They may come; they have the token, or can have it."""
    assert is_same_user(Peer(uid))


def test_another_user_is_not() -> None:
    """Whatever the mode of the socket and its folder has become."""
    assert not is_same_user(Peer(os.getuid() + 1))


def test_real_sockets() -> None:
    """A real Unix socket of this process is this user's; of TCP the system tells nothing."""
    ends = socket.socketpair(socket.AF_UNIX)
    with ends[0], ends[1], socket.socket() as tcp:
        assert is_same_user(ends[0])
        assert is_same_user(tcp)


def test_it_ends_in_the_moment_in_which_a_connection_comes() -> None:
    """The server is told to end, and a client comes: nothing of it is logged, nothing is raised."""
    troubles: list[dict[str, object]] = []

    async def no_one(*_: object) -> None:
        raise AssertionError("nobody has proved anything")

    async def scene(listener: socket.socket, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, trouble: troubles.append(trouble))
        admission = Admission(lambda: (b"t" * 32,), ServerSettings(), lambda _: Verdict.BUSY, no_one)
        accepting = loop.create_task(admission.accept_from(listener))
        await asyncio.sleep(0)  # it waits for a connection

        def come_and_end() -> None:
            client.connect(listener.getsockname())
            loop.call_soon(accepting.cancel)  # it runs before what the loop finds to be readable by then

        loop.call_soon(come_and_end)
        await asyncio.wait({accepting})
        assert accepting.cancelled()
        listener.close()
        await asyncio.sleep(0)

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        asyncio.run(scene(listener, client))
    assert troubles == []
