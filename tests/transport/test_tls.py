"""TLS as bytes: who is let in, what comes through, what an altered byte does."""

from __future__ import annotations

import hashlib
import ssl

import pytest
from tlsends import certificate, ends, joined

from rpc_magic.errors import ProtocolError
from rpc_magic.transport.tls import TlsEnd, certificate_hash, check_client_hello, client_context


def test_bytes_come_through_both_ways() -> None:
    """What one end writes the other reads, in pieces of any size, large ones whole."""
    client, server = joined()
    for sender, receiver in ((client, server), (server, client)):
        data = bytes(range(256)) * 400
        sender.write(data)
        receiver.receive(sender.data_to_send())
        got, buffer = b"", bytearray(30_000)
        while n := receiver.read_into(memoryview(buffer)):
            got += buffer[:n]
        assert got == data
        assert not receiver.is_ended


def test_byte_by_byte() -> None:
    """A handshake and a message that come byte by byte are the same as whole."""
    client, server = ends()
    done = [False, False]
    while not all(done):
        for n, (mine, other) in enumerate(((client, server), (server, client))):
            done[n] = mine.shake_hands()
            for byte in mine.data_to_send():
                other.receive(bytes([byte]))
                if not done[1 - n]:
                    done[1 - n] = other.shake_hands()
    client.write(b"hello")
    buffer = memoryview(bytearray(10))
    for byte in client.data_to_send():
        assert server.read_into(buffer) == 0
        server.receive(bytes([byte]))
    assert bytes(buffer[: server.read_into(buffer)]) == b"hello"


def test_the_hash_is_the_certificates() -> None:
    """The client sees the fingerprint of the certificate that the server has."""
    client, _ = joined()
    pem = certificate().decode()
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])
    assert client.peer_hash() == certificate_hash(der) == hashlib.sha256(der).digest()


def test_an_end_is_seen() -> None:
    """An end that is said is told from a pause, after everything that was said before."""
    client, server = joined()
    client.write(b"last")
    client.end()
    server.receive(client.data_to_send())
    buffer = memoryview(bytearray(10))
    assert server.read_into(buffer) == 4
    assert server.is_ended


def test_an_altered_byte_is_no_data() -> None:
    """A record that was altered on its way gives an error and nothing of its content."""
    client, server = joined()
    client.write(b"hello")
    record = bytearray(client.data_to_send())
    record[-1] ^= 1
    server.receive(record)
    buffer = bytearray(10)
    with pytest.raises(ssl.SSLError):
        server.read_into(memoryview(buffer))
    assert buffer == bytes(10)


@pytest.mark.parametrize("is_server", [True, False])
def test_older_versions_are_refused(is_server: bool) -> None:
    """An end that offers TLS 1.2 at most gets no connection, whichever end it is."""
    client, server = ends()
    context = client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if is_server:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        server = TlsEnd(old, is_server=True)
    else:
        client = TlsEnd(context, is_server=False)
    with pytest.raises(ssl.SSLError):  # noqa: PT012 - either end may find it
        for _ in range(4):
            for mine, other in ((client, server), (server, client)):
                mine.shake_hands()
                other.receive(mine.data_to_send())


@pytest.mark.parametrize("start", [b"GET / HT", b"SSH-2.0-", b"rpcmagic", bytes(8), b"\x16\x03\x01", b""])
def test_no_client_hello(start: bytes) -> None:
    """Eight bytes tell TLS from anything else."""
    with pytest.raises(ProtocolError):
        check_client_hello(start)


def test_client_hello() -> None:
    """The first bytes of a real one are taken."""
    client, _ = ends()
    client.shake_hands()
    check_client_hello(client.data_to_send()[:8])
