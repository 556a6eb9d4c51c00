"""Row 11: a guessed or stolen session id is useless without the token; a live connection is not touched by it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from checks import serving, unharmed
from strangers import dial, is_closed, prove, receive

import rpc_magic
from rpc_magic.runtime.tokens import read_token
from rpc_magic.wire.handshake import CHALLENGE_SIZE, ClientHandshake, Role, Verdict, read_verdict


def test_stolen_and_guessed(tmp_path: Path) -> None:
    """While a call runs: the ticket, even with the client's id, with a wrong proof or none; a guess with the token."""
    with (
        serving(tmp_path) as server,
        unharmed(server, "it had a wrong token\n"),
        rpc_magic.connect(server.url) as conn,
    ):
        shown: list[str] = []
        call = conn.submit(lambda: [time.sleep(0.02) or n for n in range(50)])
        ticket, client = conn.attachment.ticket, conn.attachment._client_id
        waiting = []
        for role in (Role.DATA, Role.ENGINE, Role.CONTROL) * 5:
            with dial(server) as sock:
                hello = ClientHandshake("x", os.urandom(32), role, client, ticket, 1).hello
                sock.sendall(hello)
                receive(sock, CHALLENGE_SIZE)
                sock.sendall(os.urandom(32))
                assert read_verdict(receive(sock, 8)) is Verdict.REFUSED
                assert is_closed(sock)
            waiting.append(dial(server))
            waiting[-1].sendall(hello)
            receive(waiting[-1], CHALLENGE_SIZE)
        token = read_token(Path(server.token_file))
        for guess in (os.urandom(16), bytes(16)):
            with dial(server) as sock:
                assert prove(sock, token, Role.DATA, guess) is Verdict.NO_SUCH_SESSION
                assert is_closed(sock)
        refused = "a connection was refused: what it was for is not, or no longer, there"
        assert server.log.count(refused) == 1
        assert conn.state == "attached"
        assert call.result(60) == list(range(50))
        conn.run("print('still there')", on_output=lambda message: shown.append(message.text))
        assert "".join(shown) == "still there\n"
        assert conn.state == "attached"
        assert conn.attachment.retry is None
        for sock in waiting:
            sock.close()
