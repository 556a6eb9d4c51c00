"""TCP options that make a dead connection known."""

from __future__ import annotations

import socket

from rpc_magic.transport.keepalive import keep_alive


def test_options() -> None:
    """An idle connection is probed after ten seconds and given up within half a minute."""
    with socket.socket() as sock:
        keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            idle, every, count = (
                sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
                for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
            )
            assert idle + every * count <= 40


def test_a_socket_without_them() -> None:
    """Nothing happens to a Unix socket."""
    one, other = socket.socketpair()
    with one, other:
        keep_alive(one)
