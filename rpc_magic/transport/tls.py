"""TLS as a matter of bytes: what came, what is to be sent, and the hash that stands for the server's certificate.

TLS 1.3 only, and no resumption, so there is no early data that could be replayed. The client checks no names and no
authorities: the certificate is pinned by its fingerprint where that is known, and the proof of the token covers it in
any case (`rpc_magic.wire.handshake`).
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from pathlib import Path

from rpc_magic.errors import ProtocolError

__all__ = [
    "CLIENT_HELLO_START",
    "TlsEnd",
    "certificate_hash",
    "check_client_hello",
    "client_context",
    "server_context",
]

CLIENT_HELLO_START = 8
"""Bytes after which it is known whether a client speaks TLS at all."""


def _only_newest(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def client_context() -> ssl.SSLContext:
    """Return what a client needs to begin."""
    context = _only_newest(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """Return what a server needs to begin.

    Args:
        certificate: file (PEM) of its certificate, with those of its authorities behind it if it has any.
        key: file (PEM) of its private key, not encrypted; None when it is in the same file.

    Raises:
        OSError: they cannot be read, or do not belong together (`ssl.SSLError`).
    """
    context = _only_newest(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.num_tickets = 0
    context.load_cert_chain(certificate, key, password=lambda: "")  # never ask at the terminal
    return context


def certificate_hash(certificate: bytes) -> bytes:
    """Return the SHA-256 of a certificate (DER): its fingerprint, and the channel binding."""
    return hashlib.sha256(certificate).digest()


def check_client_hello(start: bytes) -> None:
    """Check the first `CLIENT_HELLO_START` bytes from a client: a handshake record that holds a ClientHello.

    Raises:
        ProtocolError: it speaks something else.
    """
    if start[:2] != b"\x16\x03" or start[5:6] != b"\x01":
        raise ProtocolError("the first bytes are no TLS hello")


class TlsEnd:
    """One end of a TLS connection, without a socket. Not thread-safe.

    Args:
        context: from `client_context` or `server_context`.
        is_server: which end.

    Attributes:
        is_ended: the other side has said that nothing follows.
    """

    def __init__(self, context: ssl.SSLContext, *, is_server: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self.is_ended = False

    def receive(self, data: bytes | memoryview) -> None:
        """Take what has come from the network."""
        self._incoming.write(data)

    def data_to_send(self) -> bytes:
        """Return what is to be sent over the network, b"" for nothing."""
        return self._outgoing.read()

    def shake_hands(self) -> bool:
        """Go on with the handshake; return True when it is done.

        Raises:
            ssl.SSLError: the other side speaks no TLS, or another version.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def peer_hash(self) -> bytes:
        """Return the `certificate_hash` of the other side, once the handshake is done."""
        return certificate_hash(self._tls.getpeercert(binary_form=True) or b"")

    def read_into(self, buffer: memoryview) -> int:
        """Decrypt as much as there is and fits; return the number of bytes, 0 when more has to come first.

        Raises:
            ssl.SSLError: what came was altered.
        """
        filled = 0
        while filled < len(buffer) and not self.is_ended:
            try:
                n = int(
                    self._tls.read(len(buffer) - filled, buffer[filled:])
                )  # a number, as there is a buffer
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                n = 0
            filled += n
            self.is_ended = not n
        return filled

    def write(self, data: memoryview | bytes) -> None:
        """Encrypt all of `data`; `data_to_send` gives it."""
        rest = memoryview(data)
        while rest:  # it takes a record at a time
            rest = rest[self._tls.write(rest) :]

    def end(self) -> None:
        """Say that nothing follows."""
        with contextlib.suppress(ssl.SSLError):  # the other side has not said the same yet, and need not
            self._tls.unwrap()
