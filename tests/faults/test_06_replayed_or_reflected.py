"""Row 6: a recorded handshake replayed to the same and to another server; a challenge reflected: refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from checks import Server, serving, unharmed
from strangers import dial, receive, secure

from rpc_magic.errors import AuthenticationError
from rpc_magic.runtime.tokens import read_token
from rpc_magic.transport.tls import certificate_hash
from rpc_magic.wire.handshake import CHALLENGE_SIZE, ClientHandshake, Role, Verdict, read_verdict

LOGGED = "it had a wrong token\n"
Connect = Callable[[Server], socket.socket]


def answer(server: Server, connect: Connect, hello: bytes, *proofs: bytes) -> Verdict:
    """Say a hello and a proof, each as it was recorded."""
    with connect(server) as sock:
        sock.sendall(hello)
        receive(sock, CHALLENGE_SIZE)
        sock.sendall(b"".join(proofs))
        return read_verdict(receive(sock, 8))


@pytest.mark.parametrize("way", ["plain", "tls"])
def test_replay(tmp_path: Path, way: str) -> None:
    """What a client has said admits nobody else, here or at a server with the same token (and certificate)."""
    token_file = tmp_path / "token"
    token_file.touch(0o600)
    token_file.write_text(os.urandom(32).hex())
    options = ["--port", "0", "--token-file", str(token_file)] + (["--tls"] if way == "tls" else [])
    connect: Connect = secure if way == "tls" else dial
    (tmp_path / "other").mkdir()
    with (
        serving(tmp_path, *options) as server,
        serving(tmp_path / "other", *options) as other,
        unharmed(server, LOGGED),
        unharmed(other, LOGGED),
    ):
        with connect(server) as sock:
            binding = b""
            if way == "tls":
                binding = certificate_hash(sock.getpeercert(binary_form=True))
            token = read_token(token_file)
            recorded = ClientHandshake("x", token, Role.CONTROL, b"c" * 16, binding=binding)
            sock.sendall(recorded.hello)
            challenge = receive(sock, CHALLENGE_SIZE)
            proof = recorded.proof(challenge)
            sock.sendall(proof)
            assert read_verdict(receive(sock, 8)) is Verdict.ADMITTED
        for target in (server, other):
            assert answer(target, connect, recorded.hello, proof) is Verdict.REFUSED
        # The server's own proofs, sent back to it, are no client's.
        with connect(server) as sock:
            sock.sendall(recorded.hello)
            theirs = receive(sock, CHALLENGE_SIZE)
            sock.sendall(theirs[44:76])
            assert read_verdict(receive(sock, 8)) is Verdict.REFUSED
        # A recorded challenge, or the client's own proof as one, does not pass for a server's.
        fresh = ClientHandshake("x", token, Role.CONTROL, b"c" * 16, binding=binding)
        for reflected in (challenge, theirs, theirs[:44] + proof + proof):
            with pytest.raises(AuthenticationError):
                fresh.proof(reflected)
