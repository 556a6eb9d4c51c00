"""Row 18: endless output: memory is bounded, Stop is answered, the first and the last lines are there with a mark."""

from __future__ import annotations

import threading
import time

import psutil
import pytest
from checks import Server, unharmed
from live import FACTOR, SECONDS, eventually

import rpc_magic
from rpc_magic.wire import messages

FLOODS = {
    "print": "while True: print('x' * 100)",
    "descriptor": "import os\nwhile True: os.write(1, b'x' * 99 + b'\\n')",
    "child": "import subprocess\nsubprocess.run(['yes', 'x' * 99])",
}


@pytest.mark.parametrize("how", FLOODS)
def test_a_client_that_does_not_read(server: Server, how: str) -> None:
    """While it does not read, the session's memory does not grow; Stop is answered within a second."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        begun, go_on = threading.Event(), threading.Event()

        def show(message: object) -> None:
            begun.set()
            go_on.wait(SECONDS)

        ended: list[type] = []

        def run() -> None:
            try:
                conn.run(FLOODS[how], on_output=show)
            except KeyboardInterrupt as error:
                ended.append(type(error))

        thread = threading.Thread(target=run)
        thread.start()
        assert begun.wait(SECONDS)
        time.sleep(1)
        worker = psutil.Process(conn.info().worker_pid)
        assert worker.memory_info().rss < 400_000_000
        conn.interrupt()
        began = time.monotonic()
        go_on.set()
        thread.join(SECONDS)
        assert ended == [KeyboardInterrupt]
        assert time.monotonic() - began < 3 * FACTOR
        assert conn.call(abs, -1) == 1
        eventually(lambda: all(c.status() == psutil.STATUS_ZOMBIE for c in worker.children()))


def test_first_and_last_lines(server: Server) -> None:
    """Of a flood the first lines and the last are shown, and a mark says how much was left out."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        shown: list[str] = []
        request = messages.RunCell("for n in range(200_000): print(n)", lines=100, size=0)
        conn.run_cell(request, {}, lambda message: shown.append(getattr(message, "text", "")))
        text = "".join(shown)
        assert text.startswith("0\n1\n2\n")
        assert "left out" in text
        assert text.endswith("199998\n199999\n")
        assert len(text) < 20_000
