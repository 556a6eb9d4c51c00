"""Rows 26 and 27: packets vanish, or the laptop sleeps: noticed in time, and the call goes on."""

from __future__ import annotations

import os
import signal
import time

from checks import Server, unharmed
from live import FACTOR, eventually
from proxy import Proxy

import rpc_magic

SLEEPER = """
import sys, rpc_magic
conn = rpc_magic.connect(sys.argv[1], token_file=sys.argv[2], session="asleep")
print("ready", flush=True)
cell = "import time\\nfor i in range(100): print(i); time.sleep(0.05)"
conn.run(cell, on_output=lambda message: print(message.text, end="", flush=True))
print("end", flush=True)
"""


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
        proxy.cut()
        proxy.flows.set()
        assert call.result(60) == "done"
        assert "".join(shown) == "".join(f"{i}\n" for i in range(100))


def test_sleep(server: Server, proxy: Proxy, script) -> None:
    """A process that did not run for a while, and whose connections died meanwhile, is back within 5 seconds."""
    sleeper = script(SLEEPER, proxy.url, server.token_file)
    assert sleeper.line() == "ready"
    while sleeper.line() != "3":
        pass
    os.kill(sleeper.pid, signal.SIGSTOP)
    proxy.flows.clear()
    time.sleep(12)
    os.kill(sleeper.pid, signal.SIGCONT)
    began = time.monotonic()
    connections = proxy.connections
    eventually(lambda: proxy.connections > connections)
    assert time.monotonic() - began < 5 * FACTOR
    proxy.cut()
    proxy.flows.set()
    assert sleeper.finish() == "".join(f"{i}\n" for i in range(4, 100)) + "end\n"
