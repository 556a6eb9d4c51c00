"""Row 26: packets vanish without a reset: both sides notice within 40 seconds, and the call goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path

from checks import Server, serving, spooled, unharmed
from live import SECONDS, eventually, within
from proxy import Proxy, proxied

import rpc_magic
from rpc_magic.wire import control, messages


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
        with within(40):
            proxy.flows.clear()
            eventually(lambda: conn.state == "reconnecting", seconds=40 + SECONDS)
            eventually(lambda: "has not been heard of for 30 s" in server.log, seconds=40 + SECONDS)
        last = messages.encode(messages.Stream("stdout", "99\n"))
        eventually(lambda: last in spooled(conn.info().worker_pid), "the session takes its client for gone")
        with rpc_magic.connect(server.url) as other:
            answer = other.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
            (silent,) = [one for one in answer.sessions if one.name == "silent"]
            assert silent.client.endswith(f"process {os.getpid()}, silent")
        proxy.cut()
        proxy.flows.set()
        assert call.result(SECONDS) == "done"
        assert "".join(shown) == "".join(f"{i}\n" for i in range(100))


def test_the_server_is_told_to_end_meanwhile(tmp_path: Path) -> None:
    """What was said to a client that nobody knows to be away is there in the session that takes this one's place."""
    go = tmp_path / "go"

    def wait() -> int:
        while not go.exists():
            time.sleep(0.01)
        print("shown")
        return 42

    with (
        serving(tmp_path, "--port", "0", "--name", "void") as server,
        proxied(server.url) as network,
        rpc_magic.connect(network.url, token_file=server.token_file, session="train") as conn,
    ):
        assert conn.call(abs, -1) == 1
        conn.submit(wait)
        eventually(lambda: conn.info().state == "busy")
        network.flows.clear()
        go.touch()
        server.process.terminate()
        server.process.wait(SECONDS)
        server.start()
        with rpc_magic.connect(server.url, session="train") as other:
            (left,) = other.left_calls()
            shown: list[str] = []
            value = other.left_result(left.number, lambda one: shown.append(getattr(one, "text", "")))
            assert (value, shown) == (42, ["shown\n"])
        network.cut()
        network.flows.set()
