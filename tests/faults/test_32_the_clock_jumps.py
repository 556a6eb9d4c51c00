"""Row 32: the clock jumps a day either way: nothing expires, nothing storms."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import psutil
import pytest
from checks import serving, unharmed
from live import eventually

import rpc_magic

WALL = {"time", "time_ns", "localtime", "gmtime", "now", "utcnow", "today"}
KEPT = {
    "runtime/tokens.py",
    "runtime/keptsessions.py",
    "server/keeping.py",
    "client/restoring.py",
}
"""How long a replaced token is good is kept in a file, beyond the end of a server and of its machine; a server reads it
when it starts and when the token is replaced, and then counts seconds (`server/tokens.py`). So is how long what was
kept of a session is there for a server that is started again; the user is told when that was."""


def test_no_time_of_day() -> None:
    """Nothing that waits, expires or is repeated asks for the time of day, so that a jump of it means nothing.

    Setting the machine's clock needs privileges; what its being set would be to others is shown by the next test.
    """
    root = Path(rpc_magic.__file__).parent
    for room in ("client", "server", "transport", "wire", "runtime"):
        paths = [path for path in (root / room).glob("*.py") if f"{room}/{path.name}" not in KEPT]
        assert paths
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    used = (node.value.id, node.attr)
                    assert used[0] not in {"time", "datetime"} or used[1] not in WALL, f"{path.name}: {used}"


JUMPING = """
import os, time
for name, unit in (("time", 1), ("time_ns", 10**9)):
    def jumped(real=getattr(time, name), unit=unit):
        try:
            with open(os.environ["JUMP"]) as file:
                return real() + int(file.read() or 0) * unit
        except OSError:
            return real()
    setattr(time, name, jumped)
"""


@pytest.mark.parametrize("seconds", [86_400, -86_400])
def test_a_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """While a session idles, a call runs and a token has been replaced: all go on, and nothing becomes busy."""
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    jump = tmp_path / "jump"
    monkeypatch.setenv("JUMP", str(jump))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        server_there = serving(tmp_path, "--port", "0", "--name", "clock")
        server = server_there.__enter__()
    try:
        with unharmed(server), rpc_magic.connect(server.url) as conn:
            conn.push(x=1)
            before = conn.call(time.time)
            call = conn.submit(lambda: [time.sleep(0.02) for _ in range(100)] and "done")
            jump.write_text(str(seconds))
            processes = [psutil.Process(server.process.pid), psutil.Process(conn.info().worker_pid)]
            used = sum(sum(one.cpu_times()[:2]) for one in processes)
            assert call.result(60) == "done"
            with rpc_magic.connect(server.url) as other:
                assert abs(other.call(time.time) - before - seconds) < 3600, "the server's clock has jumped"
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > 6)  # longer than the server's look at its sessions
            assert sum(sum(one.cpu_times()[:2]) for one in processes) - used < 3
            assert conn.pull("x") == 1
            assert conn.attachment.retry is None
    finally:
        server_there.__exit__(None, None, None)
