"""Row 22: Stop is for the processes that the code has started too, as Ctrl-C in a terminal is."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest
from checks import Server, unharmed
from live import SECONDS, eventually

import rpc_magic

CHILD = """
import pathlib, time
here = pathlib.Path({here!r})
try:
    (here / "begun").touch()
    time.sleep(600)
except KeyboardInterrupt:
    (here / "cleaned up").touch()
"""
WAYS = {
    "os.system": "import os; os.system('{python} {file}')",
    "subprocess": """
import subprocess
with subprocess.Popen(['{python}', '{file}']) as child:
    child.wait()
""",
    "fork": """
import os
pid = os.fork()
if not pid:
    try:
        exec(open('{file}').read())
    finally:
        os._exit(0)
os.waitpid(pid, 0)
""",
    "multiprocessing": """
import multiprocessing
child = multiprocessing.get_context('fork').Process(target=exec, args=(open('{file}').read(), dict()))
child.start()
child.join()
""",
}


def script(folder: Path) -> dict[str, str]:
    (folder / "child.py").write_text(CHILD.format(here=str(folder)))
    return {"python": sys.executable, "file": str(folder / "child.py")}


@pytest.mark.parametrize("way", WAYS)
def test_cell(server: Server, tmp_path: Path, way: str) -> None:
    """The child hears of it and ends, and so does the cell, whether that heard of it or is deaf as it waits."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        stopped = threading.Thread(
            target=lambda: (eventually((tmp_path / "begun").exists), conn.interrupt()), daemon=True
        )
        stopped.start()
        began = time.monotonic()
        try:
            conn.run(WAYS[way].format(**script(tmp_path)))
        except KeyboardInterrupt:
            assert way != "os.system"
        else:
            assert way == "os.system"
        assert time.monotonic() - began < SECONDS
        stopped.join()
        eventually((tmp_path / "cleaned up").exists)
        assert conn.run("1 + 1").value == 2


def test_task_of_the_engine(server: Server, tmp_path: Path) -> None:
    """A task that is cancelled, likewise."""
    code = WAYS["os.system"].format(**script(tmp_path))

    def work() -> None:
        exec(code, {})

    with unharmed(server), rpc_magic.connect(server.url) as conn:
        task = conn.pool.submit(work)
        eventually((tmp_path / "begun").exists)
        task.cancel()
        eventually((tmp_path / "cleaned up").exists)
        assert conn.pool.submit(abs, -1).result(SECONDS) == 1


def test_idle(server: Server) -> None:
    """What a cell has left behind goes on when nothing is stopped: Stop came after the cell's end."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.run("import subprocess; child = subprocess.Popen(['sleep', '600'])")
        conn.interrupt()
        conn.attachment.control.ask_pong(SECONDS)  # it has come by then
        assert conn.run("child.terminate(); child.wait()").value == -15
