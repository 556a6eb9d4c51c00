"""Row 4: 500 silent connections: sessions in use do not notice; a client with the token still gets in."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from checks import serving, unharmed
from live import SECONDS, within
from strangers import dial

import rpc_magic

LOGGED = "a connection was closed before its proof: it made room for newer ones\n"


@pytest.mark.parametrize("way", ["plain", "tls"])
def test_flood(tmp_path: Path, way: str) -> None:
    """They take no more room than they may, and none of it from who has the token, at once and afterwards."""
    options = ["--port", "0"] + (["--tls"] if way == "tls" else [])
    with serving(tmp_path, *options) as server:
        with unharmed(server, LOGGED), rpc_magic.connect(server.url) as conn:
            call = conn.submit(lambda: [time.sleep(0.01) for _ in range(50)] and "undisturbed")
            flood = [dial(server) for _ in range(500)]
            try:
                with within(3):
                    assert conn.call(abs, -1) == 1
                    with rpc_magic.connect(server.url) as newcomer:
                        assert newcomer.call(abs, -2) == 2
                assert call.result(SECONDS) == "undisturbed"
                assert server.size()[0] < 256 + 100
            finally:
                for sock in flood:
                    sock.close()
        assert server.log.count("made room") == 1
