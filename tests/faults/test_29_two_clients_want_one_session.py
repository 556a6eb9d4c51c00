"""Row 29: two clients want one session; the rule is told to both, and no cell is lost or run twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from checks import Server, unharmed
from live import SECONDS, eventually

import rpc_magic
from rpc_magic import errors

SECOND = """
import sys, rpc_magic
try:
    rpc_magic.connect(sys.argv[1], session="wanted")
except rpc_magic.SessionInUseError as error:
    print(str(error).replace("\\n", " "), flush=True)
conn = rpc_magic.connect(sys.argv[1], session="wanted", take=True)
def show(message):
    if hasattr(message, "text"):
        print(message.text.strip(), flush=True)

print([call.state for call in conn.left_calls()], flush=True)
for call in conn.left_calls():
    print(conn.left_result(call.number, show), flush=True)
print(conn.pull("runs"), flush=True)
"""

CELL = """
import pathlib, time
runs = runs + 1
print('begun')
while not pathlib.Path('{go}').exists():
    time.sleep(0.01)
runs
"""


def test_taking(server: Server, script, tmp_path: Path) -> None:
    """The second one is told who holds it and since when; with --take the first is told who took it."""
    rpc_magic.connect(server.url, session="wanted").close()
    with (
        unharmed(server, "took session 'wanted' over from"),
        rpc_magic.connect(server.url, session="wanted") as first,
    ):
        first.run("runs = 0")
        failed: list[Exception] = []

        def run() -> None:
            try:
                first.run(CELL.format(go=tmp_path / "go"), on_output=lambda message: None)
            except errors.RpcMagicError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: first.info().state == "busy")
        second = script(SECOND, server.url)
        refusal = second.line()
        assert "has been in use by" in refusal
        assert "--take" in refusal
        assert second.line() == "['running']"
        (tmp_path / "go").touch()
        thread.join(SECONDS)
        assert isinstance(failed[0], errors.ConnectionLostError)
        assert failed[0].is_taken_over
        assert "took the session over" in str(failed[0])
        with pytest.raises(errors.ConnectionLostError, match="process"):
            first.call(abs, 1)
        assert [second.line() for _ in range(3)] == ["begun", "1", "1"]
        second.finish()
    assert "was refused: the session is in use" in server.log
    assert f"process {os.getpid()} is gone without a word" not in server.log


STOPPED = """
import sys, time, rpc_magic
conn = rpc_magic.connect(sys.argv[1], session="left", name="first")
conn.push(x=5)
print(time.monotonic(), flush=True)
conn.info()
print("said something", flush=True)
try:
    sys.stdin.read()
    while True:
        conn.call(abs, 1)
except rpc_magic.RpcMagicError as error:
    print(error, flush=True)
"""


def test_a_client_that_is_not_heard_of(server: Server, script) -> None:
    """After forty seconds of silence another one gets the session unasked, not before; the first one is told."""
    rpc_magic.connect(server.url, session="left").close()
    with unharmed(server, "took session 'left' over from"):
        first = script(STOPPED, server.url)
        began, said = float(first.line()), first.line()
        assert said == "said something"
        first.signal(signal.SIGSTOP)
        with pytest.raises(errors.SessionInUseError, match=f"process {first.pid}"):
            rpc_magic.connect(server.url, session="left")
        with eventually(lambda: _attached(server, "left"), seconds=40 + SECONDS) as second:
            assert time.monotonic() - began > 40
            assert second.pull("x") == 5
            first.signal(signal.SIGCONT)
            assert f"process {os.getpid()} took the session over" in first.line()
            first.finish()
            assert second.call(abs, -1) == 1


def _attached(server: Server, session: str) -> rpc_magic.Connection | None:
    try:
        return rpc_magic.connect(server.url, session=session)
    except errors.SessionInUseError:
        return None
