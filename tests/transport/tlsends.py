"""Pairs of TLS ends for tests: a certificate, and sockets whose TLS handshake is done."""

from __future__ import annotations

import functools
import os
import socket
import tempfile
import threading
from pathlib import Path

from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.tls import TlsEnd, client_context, server_context


@functools.cache
def certificate() -> bytes:
    """Return a key and its certificate, the same for all tests of a process."""
    return new_identity()


def ends() -> tuple[TlsEnd, TlsEnd]:
    """Return a client's and a server's end, before their handshake."""
    descriptor, path = tempfile.mkstemp()
    with os.fdopen(descriptor, "wb") as file:
        file.write(certificate())
    context = server_context(Path(path))
    Path(path).unlink()
    return TlsEnd(client_context(), is_server=False), TlsEnd(context, is_server=True)


def joined() -> tuple[TlsEnd, TlsEnd]:
    """Return two ends after their handshake, without a network."""
    client, server = ends()
    done = [False, False]
    while not all(done):
        for n, (mine, other) in enumerate(((client, server), (server, client))):
            done[n] = mine.shake_hands()
            other.receive(mine.data_to_send())
    return client, server


def shake_hands(end: TlsEnd, sock: socket.socket) -> None:
    """Go through the handshake over a socket."""
    while not end.shake_hands():
        sock.sendall(end.data_to_send())
        data = sock.recv(1 << 16)
        assert data
        end.receive(data)
    sock.sendall(end.data_to_send())


def connected() -> tuple[tuple[TlsEnd, socket.socket], tuple[TlsEnd, socket.socket]]:
    """Return a client's and a server's TLS connection over loopback."""
    client, server = ends()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    thread = threading.Thread(target=shake_hands, args=(server, far))
    thread.start()
    shake_hands(client, near)
    thread.join()
    return (client, near), (server, far)
