"""Row 17: children that double-fork: the end of the session ends them all, however it ends."""

from __future__ import annotations

import pytest
from checks import Server, serving, unharmed
from live import all_gone, eventually

import rpc_magic
from rpc_magic import errors


def scatter(path: str, *, is_stubborn: bool) -> None:
    """Leave processes behind that have no parent, no session and no terminal in common with this one."""
    import os
    import signal
    import time

    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) if is_stubborn else ():
                    signal.signal(number, signal.SIG_IGN)
                for fd in (0, 1, 2):
                    os.close(fd)
                file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(file, b"%d\n" % os.getpid())
                time.sleep(600)
            os._exit(0)
        os.wait()


@pytest.mark.parametrize("how", ["close", "kill", "restart"])
def test_double_fork(server: Server, tmp_path, how: str) -> None:
    """Closing, killing and restarting a session leave none of them."""
    path = tmp_path / "pids"
    with unharmed(server):
        with rpc_magic.connect(server.url) as conn:
            conn.call(scatter, str(path), is_stubborn=True)
            eventually(lambda: path.exists() and len(path.read_text().split()) == 3)
            if how == "kill":
                with pytest.raises(errors.SessionDiedError):
                    conn.call(lambda: __import__("os").kill(__import__("os").getpid(), 9))
            if how == "restart":
                conn.restart()
                all_gone(set(map(int, path.read_text().split())))
        all_gone(set(map(int, path.read_text().split())))


def test_a_limit_on_memory(tmp_path) -> None:
    """What a session has forked counts; over the limit all of it ends, and the cause is told. Others go on."""
    path = tmp_path / "pids"
    with (
        serving(tmp_path, "--port", "0", "--memory-limit", "800MB") as server,
        unharmed(server, "ended: ran out of memory: limit 800 MB"),
        rpc_magic.connect(server.url) as conn,
    ):
        conn.call(scatter, str(path), is_stubborn=True)
        eventually(lambda: path.exists() and len(path.read_text().split()) == 3)
        assert conn.call(abs, -1) == 1
        with pytest.raises(errors.SessionDiedError, match="ran out of memory: limit 800 MB"):
            conn.run("import time\nheld = bytearray(b'x') * 850_000_000\ntime.sleep(60)")
        all_gone(set(map(int, path.read_text().split())))
        conn.restart()
        assert conn.call(abs, -2) == 2
