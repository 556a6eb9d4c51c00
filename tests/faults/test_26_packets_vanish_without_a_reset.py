"""Row 26: packets vanish without a reset: both sides notice within 40 seconds, and the call goes on."""

from __future__ import annotations

import os
import time

from checks import Server, unharmed
from live import FACTOR, SECONDS, eventually
from proxy import Proxy

import rpc_magic
from rpc_magic.wire import control


def test_silence(server: Server, proxy: Proxy) -> None:
    """Nothing comes through any more, and nobody says so: both sides notice within 40 seconds, and the call goes on."""
    rpc_magic.connect(server.url, session="silent").close()
    with (
        unharmed(server, "came back"),
        rpc_magic.connect(proxy.url, token_file=server.token_file, session="silent") as conn,
    ):
        shown: list[str] = []
        conn.exchange.show = lambda message, _: shown.append(message.text)
        call = conn.submit(lambda: [(print(i), time.sleep(0.05))[0] for i in range(100)] and "done")
        eventually(lambda: "5\n" in "".join(shown))
        began = time.monotonic()
        proxy.flows.clear()
        eventually(lambda: conn.state == "reconnecting", seconds=40 * FACTOR)
        assert time.monotonic() - began < 40
        eventually(lambda: "has not been heard of for 30 s" in server.log, seconds=40 * FACTOR)
        assert time.monotonic() - began < 40
        with rpc_magic.connect(server.url) as other:
            answer = other.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
            (silent,) = [one for one in answer.sessions if one.name == "silent"]
            assert silent.client.endswith(f"process {os.getpid()}, silent")
        proxy.cut()
        proxy.flows.set()
        assert call.result(60) == "done"
        assert "".join(shown) == "".join(f"{i}\n" for i in range(100))
