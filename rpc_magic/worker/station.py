"""Where a keeper waits for a supervisor that comes later: a Unix socket in a private folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from rpc_magic.transport.packets import PacketSocket

__all__ = ["Station", "leave_pipes"]


class Station:
    """The listening socket.

    Args:
        path: of the socket, in a folder of mode 0700.
        url: the server's address, for the supervisor that comes.

    Raises:
        OSError: nobody can be waited for there.
    """

    def __init__(self, path: str, url: str) -> None:
        self.path, self.url = path, url
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.setblocking(False)
        try:
            self._sock.bind(path)
            self._sock.listen()
        except OSError:
            self._sock.close()
            raise

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def accept(self) -> PacketSocket | None:
        """Return the socket of whoever has come; None when nobody has."""
        try:
            return PacketSocket(self._sock.accept()[0])
        except OSError:
            return None

    def close(self) -> None:
        """Stop waiting; the socket stays in its folder, as a forked child must not remove it."""
        self._sock.close()

    def remove(self) -> None:
        """Stop waiting, and leave nothing behind."""
        self.close()
        Path(self.path).unlink(missing_ok=True)


def leave_pipes() -> None:
    """Leave standard output and error to the process that started the server: it may be reading them to their end."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
