"""Row 7: a relay between client and server, whose TLS has another certificate: refused, as the proof covers it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checks import Server, serving, unharmed
from strangers import secure, stranger

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime.tokens import read_token
from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.tls import server_context
from rpc_magic.wire.handshake import HELLO_SIZE


@contextmanager
def relaying(server: Server, folder: Path) -> Iterator[tuple[str, bytearray]]:
    """Relay what clients say, under a certificate of our own; gives the place, and what came from clients."""
    pem = folder / "relay.pem"
    pem.write_bytes(new_identity())
    context, heard = server_context(pem), bytearray()

    def relay(sock: socket.socket) -> None:
        with (
            contextlib.suppress(ssl.SSLError),
            context.wrap_socket(sock, server_side=True) as near,
            secure(server) as far,
        ):
            back = threading.Thread(target=copy, args=(far, near, bytearray()))
            back.start()
            copy(near, far, heard)
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)
            back.join()

    with stranger(relay) as place:
        yield place, heard


def copy(source: socket.socket, target: socket.socket, heard: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            heard += data
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("is_known", [True, False], ids=["pinned", "not pinned"])
def test_relay(tmp_path: Path, is_known: bool) -> None:
    """With the fingerprint the client says nothing at all to it; without, it finds that the proof is for another."""
    with serving(tmp_path, "--tls", "--port", "0") as server, relaying(server, tmp_path) as (place, heard):
        mark = server.url.partition("/?")[2]
        token = read_token(Path(server.token_file))
        with unharmed(server, "" if is_known else "it left in the middle of its handshake\n"):
            said = "not the one that is known" if is_known else "could not prove"
            with pytest.raises(errors.AuthenticationError, match=said):
                rpc_magic.connect(
                    f"rpc://{place}/" + (f"?{mark}" if is_known else ""), token_file=server.token_file
                )
        assert len(heard) == (0 if is_known else HELLO_SIZE), "no proof was given"
        assert token not in heard
