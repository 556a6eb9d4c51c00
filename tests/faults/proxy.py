"""A network that breaks: a relay between client and server that cuts, freezes and refuses connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rpc_magic.runtime.addresses import parse_address

__all__ = ["Proxy", "proxied"]


class _Pair:
    """One relayed connection; `budgets` are bytes towards the server and the client after which it is cut."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._ends = proxy, (client, server)
        self._budgets = proxy.take_budgets()
        self._threads = [threading.Thread(target=self._pump, args=(way,), daemon=True) for way in (0, 1)]
        for thread in self._threads:
            thread.start()

    def _pump(self, way: int) -> None:
        source, target = self._ends[way], self._ends[1 - way]
        left = self._budgets[way]
        try:
            while data := source.recv(1 << 16):
                self._proxy.flows.wait()
                self._proxy.reads += 1
                if self._proxy.fails():
                    self._proxy.cuts += 1
                    break
                target.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    break
        except OSError:
            pass
        self._proxy.flows.wait()  # that one side has closed vanishes too
        self.cut()

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @property
    def is_over(self) -> bool:
        """Both ways have ended; its sockets are closed."""
        if any(thread.is_alive() for thread in self._threads):
            return False
        self.close()
        return True

    def close(self) -> None:
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for end in self._ends:
            end.close()


class Proxy:
    """Relays to a server on loopback.

    Attributes:
        url: where clients connect.
        flows: cleared, packets vanish without a word.
        fails: asked at each read in either direction whether it fails; the connection is then cut, and what was read
            is lost.
        connections, reads, cuts: how many there were; of the reads, how many have failed.
    """

    UNLIMITED = 1 << 62

    def __init__(self, url: str) -> None:
        address = parse_address(url)
        self._port = address.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = address._replace(port=self._listener.getsockname()[1]).url
        self.flows = threading.Event()
        self.flows.set()
        self.fails: Callable[[], bool] = bool
        self._schedule: list[tuple[int, int]] = []
        self._pairs: list[_Pair] = []
        self._refuses = False
        self.connections = self.reads = self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            self.connections += 1
            self._pairs = [pair for pair in self._pairs if not pair.is_over]
            self._pairs.append(_Pair(self, client, server))

    def lead_to(self, url: str) -> None:
        """From now on, relay to another server."""
        self._port = parse_address(url).port

    def take_budgets(self) -> tuple[int, int]:
        return self._schedule.pop(0) if self._schedule else (self.UNLIMITED, self.UNLIMITED)

    def schedule(self, budgets: Sequence[tuple[int, int]]) -> None:
        """Cut the connections that are there, and the next ones after so many bytes towards server and client."""
        self._schedule = list(budgets)
        self.cut()

    def cut(self) -> None:
        """Cut all connections that are there."""
        for pair in list(self._pairs):
            pair.cut()

    def refuse(self, refuses: bool) -> None:
        """Let nobody through any more, or again."""
        self._refuses = refuses
        if refuses:
            self.cut()

    def close(self) -> None:
        self.flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for pair in self._pairs:
            pair.close()


@contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    """Put a proxy before a server."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
