"""Row 23: code deaf to Stop, with and without the GIL held: the status stays live, a second Stop ends the session."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from checks import Server, unharmed
from live import SECONDS, eventually, within

import rpc_magic
from rpc_magic import errors

LOCKS_TWICE = (
    "BEGUN; import ctypes; c = ctypes.{}(None); m = ctypes.create_string_buffer(64)\n"
    "[c.pthread_mutex_lock(m) for _ in range(2)]"
)
DEAF = {
    "swallows it": "import time\nwhile True:\n    try: BEGUN; time.sleep(60)\n    except KeyboardInterrupt: pass",
    "in C": LOCKS_TWICE.format("CDLL"),
    "in C, with the GIL": LOCKS_TWICE.format("PyDLL"),
}


def deaf(kind: str, begun: Path) -> str:
    """Return a cell that makes a file when it begins; one that swallows interrupts does from then on."""
    return DEAF[kind].replace("BEGUN", f"open({str(begun)!r}, 'w').close()")


def is_asleep(process: psutil.Process) -> bool:
    """Tell whether a process's main thread sleeps, and has since a while ago."""
    before = process.num_ctx_switches()
    time.sleep(0.1)
    return process.status() == psutil.STATUS_SLEEPING and process.num_ctx_switches() == before


PRESSED = """
import pathlib, sys, rpc_magic
with rpc_magic.connect(sys.argv[1]) as conn:
    try:
        conn.run(sys.argv[2])
    except KeyboardInterrupt as error:
        print("ended:", error.__cause__.cause, flush=True)
    conn.restart()
    print(conn.call(abs, -1), flush=True)
"""


def test_the_user_is_told(server: Server, script, tmp_path: Path) -> None:
    """After five seconds the user reads what a second Stop does, and it does."""
    begun = tmp_path / "begun"
    with unharmed(server, "ended: it was stopped"):
        program = script(PRESSED, server.url, deaf("swallows it", begun))
        eventually(begun.exists)
        began = time.monotonic()
        with within(6):
            program.signal()
            eventually(lambda: "ends its session, and the session's variables are gone" in program.errors)
        assert time.monotonic() - began >= 5
        program.signal()
        assert program.line().startswith("ended: it was stopped")
        assert program.line() == "1"
        program.finish()


@pytest.mark.parametrize("kind", DEAF)
def test_deaf(server: Server, tmp_path: Path, kind: str) -> None:
    """The supervisor tells the truth meanwhile, ends the session when it is told to, and others do not notice."""
    with unharmed(server, "ended: it did not listen"), rpc_magic.connect(server.url) as conn:
        ended: list[BaseException] = []
        begun = tmp_path / "begun"
        worker = psutil.Process(conn.info().worker_pid)

        def run() -> None:
            try:
                conn.run(deaf(kind, begun))
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        eventually(begun.exists)
        eventually(lambda: is_asleep(worker), "it is in its deaf part")
        conn.interrupt()
        pong = eventually(
            lambda: (one := conn.attachment.control.ask_pong(SECONDS)) and one.stopping_seconds > 0.2 and one
        )
        assert pong.state == "busy"
        with within(4):
            assert conn.attachment.end_session("it did not listen")
            thread.join(SECONDS)
        assert isinstance(ended[0], errors.SessionDiedError)
        conn.restart()
        assert conn.call(abs, -1) == 1
