"""Row 9: a browser, an SSH client, TLS on the plain port, plain bytes on the TLS port: closed after 8 bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from checks import serving, unharmed
from strangers import dial, is_closed, secure

import rpc_magic
from rpc_magic.transport.tls import TlsEnd, client_context
from rpc_magic.wire import control
from rpc_magic.wire.frames import encode_frame
from rpc_magic.wire.handshake import ClientHandshake, Role


def client_hello() -> bytes:
    end = TlsEnd(client_context(), is_server=False)
    end.shake_hands()
    return end.data_to_send()


def hidden() -> bytes:
    """A POST whose body is a hello and a frame that ends a session."""
    hello = ClientHandshake("x", b"t" * 32, Role.CONTROL, b"c" * 16).hello
    body = hello + b"".join(encode_frame(0, 1, 0, control.encode(control.EndSession("gone"))))
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


STARTS = {"browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "SSH": b"SSH-2.0-OpenSSH_9.9\r\n"}
LOGGED = "a connection was closed before its proof: it speaks another protocol\n"


@pytest.mark.parametrize("way", ["plain", "tls"])
def test_other_protocols(tmp_path: Path, way: str) -> None:
    """Eight bytes are enough, nothing is answered, and a frame hidden in an HTTP body ends no session."""
    options = ["--port", "0"] + (["--tls"] if way == "tls" else [])
    other = (
        {"a TLS hello": client_hello()} if way == "plain" else {"a hello": b"rpcmagic\x01\x01" + bytes(74)}
    )
    with serving(tmp_path, *options) as server:
        with rpc_magic.connect(server.url, session="innocent"), unharmed(server, LOGGED):
            for start in {**STARTS, **other, "a frame": hidden()}.values():
                for sent in (start[:8], start):
                    with dial(server) as sock:
                        sock.sendall(sent)
                        assert is_closed(sock)
            if way == "tls":
                for start in STARTS.values():
                    with secure(server) as sock:
                        sock.sendall(start)
                        assert is_closed(sock)
        assert server.log.count("another protocol") == 1
        assert "it took more than" not in server.log, "not by the timer"


def test_a_hello_of_tls_that_never_ends(tmp_path: Path) -> None:
    """What comes under TLS before the proof is bounded: a hello that goes on for ever is closed, not kept."""
    with serving(tmp_path, "--tls", "--port", "0") as server, unharmed(server, LOGGED), dial(server) as sock:
        record = b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + bytes((1 << 14) - 4)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                sock.sendall(record)
        assert is_closed(sock)
