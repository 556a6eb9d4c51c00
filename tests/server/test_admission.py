"""Admission: whom the system says to be at the other end of a Unix socket. The rest is shown in tests/faults."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from rpc_magic.server.admission import is_same_user


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
