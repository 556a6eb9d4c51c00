"""The yardstick: two processes, one blocking loopback TCP socket, C pickle protocol 5, `recv_into`.

It is what a careful programmer writes in thirty lines, and it does nothing else: no concurrency, no errors, no
output, no security. Run as a script it is the server.
"""

from __future__ import annotations

import pickle
import socket
import struct
import subprocess
import sys
from typing import Any

_HEAD = struct.Struct("!QI")
_LENGTH = struct.Struct("!Q")


def send(sock: socket.socket, value: Any) -> None:
    """Send one object, its buffers out of band."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    head = _HEAD.pack(len(data), len(views)) + b"".join(_LENGTH.pack(len(view)) for view in views)
    sock.sendall(head + data)
    for view in views:
        sock.sendall(view)


def _receive_into(sock: socket.socket, view: memoryview) -> None:
    while view:
        n = sock.recv_into(view)
        if not n:
            raise EOFError
        view = view[n:]


def _receive(sock: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    _receive_into(sock, memoryview(data))
    return data


def receive(sock: socket.socket) -> Any:
    """Receive one object."""
    length, count = _HEAD.unpack(_receive(sock, _HEAD.size))
    table = _receive(sock, count * _LENGTH.size)
    data = _receive(sock, length)
    buffers = [_receive(sock, n) for (n,) in _LENGTH.iter_unpack(table)]
    return pickle.loads(data, buffers=buffers)


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def size_of(value: Any) -> int:
    """Return a length, so that nothing large goes back."""
    return len(value)


def numbers(count: int, first: int) -> Any:
    """Return an array of `count` float64."""
    import numpy as np

    return np.arange(first, first + count, dtype=float)


FUNCTIONS = {"add": add, "size_of": size_of, "numbers": numbers}


class Raw:
    """The client, with its server as a child process."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self._process = subprocess.Popen([sys.executable, __file__, str(listener.getsockname()[1])])
        self.sock, _ = listener.accept()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.close()

    def call(self, name: str, *args: Any) -> Any:
        """Call a function by name."""
        send(self.sock, (name, args))
        return receive(self.sock)

    def close(self) -> None:
        """End both."""
        self.sock.close()
        self._process.wait(10)


def serve(port: int) -> None:
    """Answer calls until the client closes."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            name, args = receive(sock)
            send(sock, FUNCTIONS[name](*args))
    except EOFError:
        sock.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
