"""What strangers do to a server, and strangers that pretend to be one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from checks import Server
from live import SECONDS

from rpc_magic.runtime.addresses import parse_address
from rpc_magic.transport.tls import client_context
from rpc_magic.wire.handshake import CHALLENGE_SIZE, ClientHandshake, Role, Verdict, read_verdict

__all__ = ["dial", "is_closed", "prove", "receive", "secure", "stranger"]


def dial(server: Server) -> socket.socket:
    """Connect to a server, and say nothing."""
    address = parse_address(server.url)
    return socket.create_connection((address.host, address.port), SECONDS)


def secure(server: Server) -> ssl.SSLSocket:
    """Connect to a server by TLS, and say nothing more."""
    return client_context().wrap_socket(dial(server))


def receive(sock: socket.socket, size: int) -> bytes:
    """Receive exactly so many bytes."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, f"closed after {data!r}"
        data += more
    return data


def is_closed(sock: socket.socket) -> bool:
    """Tell whether the other side closes, and says nothing first."""
    try:
        return sock.recv(1000) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def prove(
    sock: socket.socket,
    token: bytes,
    role: Role = Role.CONTROL,
    ticket: bytes = bytes(16),
    binding: bytes = b"",
    client: bytes = b"c" * 16,
    resume: int = 0,
) -> Verdict:
    """Go through a handshake; return the verdict."""
    handshake = ClientHandshake("a test", token, role, client, ticket, resume, binding)
    sock.sendall(handshake.hello)
    sock.sendall(handshake.proof(receive(sock, CHALLENGE_SIZE)))
    return read_verdict(receive(sock, 8))


@contextmanager
def stranger(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Listen on loopback and treat each connection with `answer`; gives host and port."""
    threads = []

    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(SECONDS)
            answer(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(sock,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(SECONDS)
