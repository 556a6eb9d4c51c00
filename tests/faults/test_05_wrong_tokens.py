"""Row 5: 1,000 wrong tokens: one attempt a connection, one reply to every kind of wrong, no lock-out."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from checks import serving, unharmed
from live import within
from strangers import dial, is_closed, receive, secure

import rpc_magic
from rpc_magic.wire.handshake import CHALLENGE_SIZE, ClientHandshake, Role, Verdict, write_verdict

LOGGED = "a connection was closed before its proof: it had a wrong token\n"


def test_wrong_tokens(tmp_path: Path) -> None:
    """Whatever role and ticket, the reply is the same 8 bytes and the door; the right token works at once."""
    with serving(tmp_path) as server, unharmed(server, LOGGED), rpc_magic.connect(server.url) as conn:
        tickets = (bytes(16), conn.attachment.ticket)
        kinds = itertools.cycle(itertools.product((Role.CONTROL, Role.DATA, Role.FUNCTIONS), tickets))
        for n, (role, ticket) in zip(range(1000), kinds, strict=False):
            with dial(server) as sock:
                handshake = ClientHandshake("x", os.urandom(32), role, os.urandom(16), ticket)
                sock.sendall(handshake.hello)
                receive(sock, CHALLENGE_SIZE)
                proof = os.urandom(32)
                sock.sendall(proof + proof if n % 3 else proof)  # a second attempt at once is not heard
                assert sock.recv(1000) == write_verdict(Verdict.REFUSED)
                assert is_closed(sock)
        with within(2), rpc_magic.connect(server.url) as another:
            assert another.call(abs, -1) == 1
        assert conn.call(abs, -2) == 2


def test_wrong_tokens_over_tls(tmp_path: Path) -> None:
    """The same inside TLS."""
    with serving(tmp_path, "--tls", "--port", "0") as server, unharmed(server, LOGGED):
        for _ in range(20):
            with secure(server) as sock:
                sock.sendall(ClientHandshake("x", os.urandom(32), Role.CONTROL, os.urandom(16)).hello)
                receive(sock, CHALLENGE_SIZE)
                sock.sendall(os.urandom(32))
                assert receive(sock, 8) == write_verdict(Verdict.REFUSED)
                assert is_closed(sock)
        with rpc_magic.connect(server.url) as another:
            assert another.call(abs, -1) == 1
