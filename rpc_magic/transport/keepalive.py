"""Idle TCP connections that the system looks after: it notices a vanished peer, and no router forgets them."""

from __future__ import annotations

import contextlib
import socket

__all__ = ["keep_alive"]

_OPTIONS = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Seconds before the first probe, seconds between probes, probes.

TCP_USER_TIMEOUT is not set: it would also end the connection to a session that is too busy to read.
"""


def keep_alive(sock: socket.socket) -> None:
    """Have an idle TCP connection fail within 30 seconds when packets vanish; elsewhere as soon as the system can."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
