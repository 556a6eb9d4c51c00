"""Row 8: plaintext or an older version where TLS is expected: the client refuses before it sends anything secret."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path

import pytest
from checks import serving, unharmed
from strangers import stranger

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime.tokens import read_token
from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.tls import server_context
from rpc_magic.wire.handshake import HELLO_SIZE


def test_offers(tmp_path: Path) -> None:
    """Plaintext, TLS 1.2, an older version of the handshake inside TLS: refused, and no proof was given."""
    pem, heard = tmp_path / "pem", []
    pem.write_bytes(new_identity())
    newest, old = server_context(pem), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(pem)
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    def plaintext(sock: socket.socket) -> None:
        sock.sendall(b"rpcmagic\x01\0\0\0" + os.urandom(96))
        hear(sock)

    def older_tls(sock: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), old.wrap_socket(sock, server_side=True) as secured:
            hear(secured)

    def older_version(sock: socket.socket) -> None:
        with newest.wrap_socket(sock, server_side=True) as secured:
            heard.append(secured.recv(HELLO_SIZE))
            secured.sendall(b"rpcmagic\0\0\0\0" + os.urandom(96))
            hear(secured)

    def hear(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(1 << 16):
                heard.append(data)

    with serving(tmp_path, "--tls", "--port", "0") as server, unharmed(server):
        token = read_token(Path(server.token_file))
        for offer, said, size in (
            (plaintext, "does not speak TLS 1.3", None),
            (older_tls, "does not speak TLS 1.3", 0),
            (older_version, "speaks version 0", HELLO_SIZE),
        ):
            heard.clear()
            with stranger(offer) as place, pytest.raises(errors.ConnectError, match=said):
                rpc_magic.connect(f"rpc://{place}/", token_file=server.token_file)
            bytes_heard = b"".join(heard)
            assert token not in bytes_heard
            if size is None:
                assert b"rpcmagic" not in bytes_heard, "nothing but the hello of TLS"
            else:
                assert len(bytes_heard) == size


def test_plain_urls_beyond_this_machine() -> None:
    """An address beyond loopback is never spoken to without TLS, whatever its URL says."""
    with pytest.raises(errors.ConnectError, match="nothing is sent without TLS"):
        rpc_magic.connect("tcp://192.0.2.1:8000", token="0" * 64)
