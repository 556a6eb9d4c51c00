"""A link of stated speed and delay on one machine: a proxy between a client and a server."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Self

__all__ = ["ThrottledLink"]

_PIECE = 1 << 17
_AHEAD = 64  # pieces under way; a link does not hold more


class ThrottledLink:
    """Listens on a loopback port and passes everything on, both ways.

    Args:
        target: address of the server.
        rate: bytes a second, each way.
        delay: seconds from one end to the other.

    Attributes:
        port: where it listens.
        passed: bytes that have passed, by direction: "there", "back".
    """

    def __init__(self, target: tuple[str, int], rate: float = 125e6, delay: float = 0.02) -> None:
        self._target, self._rate, self._delay = target, rate, delay
        self.passed = {"there": 0, "back": 0}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._pipe(client, server, "there")
                self._pipe(server, client, "back")

    def _pipe(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_AHEAD)

        def take() -> None:
            free = 0.0
            data = b"x"
            with contextlib.suppress(OSError):
                while data:
                    data = source.recv(_PIECE)
                    now = time.monotonic()
                    free = max(free, now) + len(data) / self._rate
                    time.sleep(max(0.0, free - now))
                    under_way.put((free + self._delay, data))

        def give() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = under_way.get()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                    self.passed[direction] += len(data)

        for work in (take, give):
            threading.Thread(target=work, daemon=True).start()
