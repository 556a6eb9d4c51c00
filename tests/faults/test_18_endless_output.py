"""Row 18: endless output: memory is bounded, Stop is answered, the first and the last lines are there with a mark."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from checks import Server, unharmed
from live import FACTOR, SECONDS, eventually
from speaking import Speaker, attached, token_of
from strangers import dial, prove

import rpc_magic
from rpc_magic.wire import control, messages
from rpc_magic.wire.handshake import Role, Verdict

FLOODS = {
    "print": "while True: print('x' * 100)",
    "descriptor": "import os\nwhile True: os.write(1, b'x' * 99 + b'\\n')",
    "child": "import subprocess\nsubprocess.run(['yes', 'x' * 99])",
}


def stoppable(flood: str, stopped: Path) -> str:
    """Return a cell that makes a file when it is interrupted."""
    body = flood.replace("\n", "\n ")
    return f"try:\n {body}\nexcept KeyboardInterrupt:\n open({str(stopped)!r}, 'w').close()\n raise"


@pytest.mark.parametrize("how", FLOODS)
def test_a_client_that_does_not_read(server: Server, tmp_path: Path, how: str) -> None:
    """While it does not read, the session's memory does not grow; Stop is answered within a second."""
    stopped = tmp_path / "stopped"
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        begun, go_on = threading.Event(), threading.Event()

        def show(message: object) -> None:
            begun.set()
            go_on.wait(SECONDS)

        ended: list[type] = []

        def run() -> None:
            try:
                conn.run(stoppable(FLOODS[how], stopped), on_output=show)
            except KeyboardInterrupt as error:
                ended.append(type(error))

        thread = threading.Thread(target=run)
        thread.start()
        assert begun.wait(SECONDS)
        time.sleep(1)
        worker = psutil.Process(conn.info().worker_pid)
        assert worker.memory_info().rss < 400_000_000
        conn.interrupt()
        eventually(stopped.exists, seconds=1.0 * FACTOR)
        began = time.monotonic()
        go_on.set()  # what has come is shown first
        thread.join(SECONDS)
        assert ended == [KeyboardInterrupt]
        assert time.monotonic() - began < 3 * FACTOR
        assert conn.call(abs, -1) == 1
        eventually(lambda: all(c.status() == psutil.STATUS_ZOMBIE for c in worker.children()))


@pytest.mark.parametrize("how", [*FLOODS, "display"])
def test_a_connection_that_nobody_reads(server: Server, tmp_path: Path, how: str) -> None:
    """The same when nothing is taken from the connection: the code is stopped, and its end comes when it is read."""
    stopped = tmp_path / "stopped"
    flood = FLOODS.get(how, "while True: display({'text/plain': 'x' * 1000}, raw=True)")
    with unharmed(server), attached(server, "") as held, dial(server) as sock:
        assert prove(sock, token_of(server), Role.DATA, held.ticket) is Verdict.ADMITTED
        data = Speaker(sock)
        data.say(messages.encode(messages.RunCell(stoppable(flood, stopped))), call=1)
        worker = psutil.Process(held.worker_pid)
        most, until = 0, time.monotonic() + 2
        while time.monotonic() < until:  # it fills whatever there is to be filled
            most = max(most, worker.memory_info().rss)
        assert most < 400_000_000
        held.say(control.encode(control.Interrupt(1)))
        eventually(stopped.exists, seconds=1.0 * FACTOR)
        assert worker.memory_info().rss < 400_000_000
        while not isinstance(answer := messages.decode_answer(data.hear().message), messages.CellDone):
            pass
        assert answer.error is not None
        assert answer.error.type_name == "KeyboardInterrupt"


COUNTS = {
    "print": "for n in range(200_000): print(n)",
    "descriptor": "import os\nfor n in range(200_000): os.write(1, b'%d\\n' % n)",
    "child": "import subprocess\n_ = subprocess.run(['seq', '0', '199999'])",
}


@pytest.mark.parametrize("how", COUNTS)
def test_first_and_last_lines(server: Server, how: str) -> None:
    """Of a flood the first lines and the last are shown, and a mark says how much was left out."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        shown: list[str] = []
        request = messages.RunCell(COUNTS[how], lines=100, size=0)
        conn.run_cell(request, {}, lambda message: shown.append(getattr(message, "text", "")))
        text = "".join(shown)
        assert text.startswith("0\n1\n2\n")
        assert "left out" in text
        assert text.endswith("199998\n199999\n")
        assert len(text) < 20_000
