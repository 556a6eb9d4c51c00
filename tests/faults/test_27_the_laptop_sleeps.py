"""Row 27: the laptop sleeps: on waking the client is back within 5 seconds and shows what it missed."""

from __future__ import annotations

import os
import signal
import time

from checks import Server, unharmed
from live import eventually, within
from proxy import Proxy

import rpc_magic

SLEEPER = """
import sys, rpc_magic
from rpc_magic.client import attachment
from rpc_magic.settings import ClientSettings

# A laptop sleeps for an hour; here all times are shorter.
attachment.ClientSettings = lambda: ClientSettings(beat_seconds=2.0, silent_seconds=5.0, awake_seconds=1.0)
conn = rpc_magic.connect(sys.argv[1], token_file=sys.argv[2], session="asleep")
print("ready", flush=True)
cell = "import time\\nfor i in range(100): print(i); time.sleep(0.05)"
conn.run(cell, on_output=lambda message: print(message.text, end="", flush=True))
print("end", flush=True)
"""


def test_sleep(server: Server, proxy: Proxy, script) -> None:
    """A process that did not run for longer than all timeouts, and whose connections died meanwhile, is back."""
    rpc_magic.connect(server.url, session="asleep").close()
    with unharmed(server, "came back"):
        sleeper = script(SLEEPER, proxy.url, server.token_file)
        assert sleeper.line() == "ready"
        while sleeper.line() != "3":
            pass
        os.kill(sleeper.pid, signal.SIGSTOP)
        proxy.flows.clear()
        time.sleep(7)
        connections = proxy.connections
        with within(5):
            os.kill(sleeper.pid, signal.SIGCONT)
            eventually(lambda: proxy.connections > connections)
        proxy.cut()
        proxy.flows.set()
        assert sleeper.finish() == "".join(f"{i}\n" for i in range(4, 100)) + "end\n"
