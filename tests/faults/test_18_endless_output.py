"""Row 18: endless output: memory is bounded, Stop is answered, the first and the last lines are there with a mark."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from checks import Server, unharmed
from live import SECONDS, eventually, within
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
        with within(1.0):
            conn.interrupt()
            eventually(stopped.exists)
        with within(3):
            go_on.set()  # what has come is shown first
            thread.join(SECONDS)
        assert ended == [KeyboardInterrupt]
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
        with within(1.0):
            held.say(control.encode(control.Interrupt(1)))
            eventually(stopped.exists)
        assert worker.memory_info().rss < 400_000_000
        while not isinstance(answer := messages.decode_answer(data.hear().message), messages.CellDone):
            pass
        assert answer.error is not None
        assert answer.error.type_name == "KeyboardInterrupt"


@pytest.mark.parametrize("how", FLOODS)
def test_a_function_that_is_slower_than_the_output(server: Server, tmp_path: Path, how: str) -> None:
    """What `on_output` has not taken does not gather in the client; others are served, and Stop is answered."""
    stopped = tmp_path / "stopped"
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        begun, go_on = threading.Event(), threading.Event()
        shown: list[str] = []

        def show(message: object) -> None:
            shown.append(getattr(message, "text", ""))
            begun.set()
            go_on.wait(SECONDS)
            time.sleep(0.05)  # it stays slow

        def run() -> None:
            with pytest.raises(KeyboardInterrupt):
                conn.run(stoppable(FLOODS[how], stopped), on_output=show)

        thread = threading.Thread(target=run)
        thread.start()
        assert begun.wait(SECONDS)
        received, quiet = conn.info().bytes_received, time.monotonic()
        while time.monotonic() - quiet < 1:  # it comes to a halt
            if (now := conn.info().bytes_received) > received + 10_000:  # what `info` itself asks for is less
                received, quiet = now, time.monotonic()
            assert received < 50_000_000
            time.sleep(0.05)
        with rpc_magic.connect(server.url) as other, within(1.0):
            assert other.call(abs, -1) == 1
        with within(1.0):
            conn.interrupt()
            eventually(stopped.exists)
        go_on.set()
        thread.join(SECONDS)
        assert not thread.is_alive()
        text = "".join(shown)
        assert "left out: what takes this output is slower than what makes it" in text
        assert text.startswith("x" * 99)
        assert len(text) < 5_000_000


def test_a_slow_function_gets_all_output(server: Server) -> None:
    """A cell that prints faster than its output is taken is held up, and nothing of its output is lost."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        sizes: list[int] = []

        def show(message: object) -> None:
            sizes.append(len(getattr(message, "text", "")))
            time.sleep(0.002)

        result = conn.run("for n in range(200_000): print(f'{n:99}')", on_output=show)
        assert sum(sizes) == 200_000 * 100
        assert result.stdout == "".join(f"{n:99}\n" for n in range(200_000))


def test_a_stated_time_is_over_though_output_comes(server: Server) -> None:
    """A cell that prints without end has its stated time, however slowly its output is taken."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        with within(5), pytest.raises(rpc_magic.CallTimeoutError):
            conn.run(FLOODS["print"], on_output=lambda _: time.sleep(0.1), timeout=1)
        assert conn.call(abs, -1) == 1


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
