"""Limits that a server's operator sets: over each of them there is one clear sentence, and what is within goes on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import socket
import time
from pathlib import Path

import pytest
from live import SECONDS, eventually, served

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime import records
from rpc_magic.wire import control
from rpc_magic.wire.frames import encode_frame
from rpc_magic.wire.handshake import CHALLENGE_SIZE, VERDICT_SIZE, ClientHandshake, Role


def wait_for(go: Path) -> None:
    while not go.exists():
        time.sleep(0.01)


def test_calls_that_wait(tmp_path: Path) -> None:
    """One call too many is refused with limit and setting; the others run, and there is room again."""
    with served(limits={"calls": 5}) as url, rpc_magic.connect(url) as conn:
        conn.call(abs, 0)
        busy = conn.submit(wait_for, tmp_path / "go")
        eventually(lambda: conn.info().state == "busy")
        calls = [conn.submit(abs, -n) for n in range(8)]
        with pytest.raises(errors.LimitError, match=r"6 calls, over the limit of 5; the setting 'calls'"):
            calls[-1].result(SECONDS)
        with pytest.raises(errors.LimitError):
            conn.pull("x")
        (tmp_path / "go").touch()
        assert busy.result(SECONDS) is None
        assert [call.result(SECONDS) for call in calls[:5]] == [0, 1, 2, 3, 4]
        assert conn.call(abs, -9) == 9


def test_calls_of_new_functions_that_wait(tmp_path: Path) -> None:
    """What defines a function does not count as a call: as many wait as were promised, however many are refused."""
    with served(limits={"calls": 5}) as url, rpc_magic.connect(url) as conn:
        conn.call(abs, 0)
        busy = conn.submit(wait_for, tmp_path / "go")
        eventually(lambda: conn.info().state == "busy")
        calls = [conn.submit(eval(f"lambda: {n}")) for n in range(50)]
        for call in calls[5:]:
            with pytest.raises(errors.LimitError, match="6 calls, over the limit of 5"):
                call.result(SECONDS)
        assert calls[4].cancel()
        again = conn.submit(eval("lambda: 'in its place'"))
        (tmp_path / "go").touch()
        assert busy.result(SECONDS) is None
        assert [call.result(SECONDS) for call in calls[:4]] == [0, 1, 2, 3]
        assert again.result(SECONDS) == "in its place"
        assert conn.call(eval("lambda: 9")) == 9  # one of those that were refused


def test_tasks_that_wait_for_the_engine(tmp_path: Path) -> None:
    """The same for tasks of the engine; `map` keeps few under way and is not concerned."""
    with served(limits={"calls": 70}) as url, rpc_magic.connect(url) as conn:
        tasks = [conn.pool.submit(wait_for, tmp_path / "go") for _ in range(100)]
        with pytest.raises(errors.LimitError, match="the engine's queue has 71 calls, over the limit of 70"):
            tasks[-1].result(SECONDS)
        (tmp_path / "go").touch()
        concurrent.futures.wait(tasks, SECONDS)
        assert tasks[0].result(SECONDS) is None
        assert list(conn.map(abs, range(200), chunksize=1)) == list(range(200))


def test_calls_that_wait_for_a_program(tmp_path, monkeypatch) -> None:
    """The same for calls by name."""
    (tmp_path / "exposed_slow.py").write_text(
        "import os, time\n__all__ = ['nap']\ndef nap(go):\n while not os.path.exists(go): time.sleep(0.01)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with served(limits={"calls": 2}, expose=("exposed_slow",)) as url, rpc_magic.connect(url) as conn:
        go = tmp_path / "go"
        calls = [conn.submit("nap", str(go)) for _ in range(7)]
        with pytest.raises(errors.LimitError, match="the program's queue has 3 calls, over the limit of 2"):
            calls[-1].result(SECONDS)
        go.touch()
        assert calls[0].result(SECONDS) is None
        assert conn.call("nap", str(go)) is None


MEGABYTE = 1 << 20


@contextlib.contextmanager
def without_the_clients_own_check(conn: rpc_magic.Connection, role: Role):
    """Send what is over the limit all the same, as a client that keeps to nothing would."""
    link = conn.attachment.link(role)
    payload, link._payload = link._payload, 1 << 40
    yield
    link._payload = payload


def test_large_messages_of_the_engine() -> None:
    """A task's results over the limit are an error that names it; arguments over it are not taken in; others run."""
    with served(limits={"message": MEGABYTE}) as url, rpc_magic.connect(url) as conn:
        with pytest.raises(
            errors.LimitError, match=r"the result has .*limit of 1,048,576; the setting 'message'"
        ):
            list(conn.map(bytes, [10, 2 * MEGABYTE]))
        assert list(conn.map(bytes, [10, MEGABYTE // 2])) == [bytes(10), bytes(MEGABYTE // 2)]
        with (
            without_the_clients_own_check(conn, Role.ENGINE),
            pytest.raises(errors.ConnectionLostError),
        ):
            conn.pool.submit(len, bytes(2 * MEGABYTE)).result(SECONDS)
        assert list(conn.map(len, [b"abc"])) == [3]


EXPOSED = """
def zeros(n):
    return bytes(n)

def size(b):
    return len(b)

def fail(n):
    error = ValueError("too much to carry")
    error.data = bytes(n)
    raise error
"""

SERVER = """
import rpc_magic
server = rpc_magic.Server(limits={"message": 1 << 20, "calls": 2}, threads=2)
server.register(bytes, "zeros")
server.register(len, "size")
@server.register
def fail(n):
    error = ValueError("too much to carry")
    error.data = bytes(n)
    raise error
server.serve_forever()
"""


def check_program(conn: rpc_magic.Connection) -> None:
    with pytest.raises(
        errors.LimitError, match=r"the result has .*limit of 1,048,576; the setting 'message'"
    ):
        conn.call("zeros", 2 * MEGABYTE)
    assert conn.call("zeros", 10) == bytes(10)
    with pytest.raises(errors.RemoteError, match="too much to carry"):
        conn.call("fail", 2 * MEGABYTE)
    with without_the_clients_own_check(conn, Role.FUNCTIONS), pytest.raises(errors.ConnectionLostError):
        conn.call("size", bytes(2 * MEGABYTE))
    assert conn.call("size", b"abc") == 3


def test_large_messages_of_a_program(tmp_path, monkeypatch, script) -> None:
    """The same for calls by name, whether the server starts the program or the program the server."""
    (tmp_path / "exposed_large.py").write_text(EXPOSED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    limits = {"message": MEGABYTE}
    with (
        served(limits=limits, expose=("exposed_large",)) as url,
        rpc_magic.connect(url) as conn,
    ):
        check_program(conn)
    program = script(SERVER)
    with rpc_magic.connect(program.line()) as conn:
        check_program(conn)


@pytest.mark.parametrize("limits", [{"messages": 5}, {"message": 0}, {"message": "8GB"}, {"calls": True}])
def test_limits_that_are_none(limits) -> None:
    """A limit that does not exist, or cannot be one, is said when the server is made."""
    with pytest.raises(
        ValueError, match=r"a limit is one of message, calls|must be a whole number from 1 on"
    ):
        rpc_magic.Server(limits=limits)


def test_connections() -> None:
    """One client too many is told that the server is busy, and which setting it is; those within are served."""
    with served(limits={"connections": 2}) as url, contextlib.ExitStack() as stack:
        first, _ = (stack.enter_context(rpc_magic.connect(url)) for _ in range(2))
        with pytest.raises(
            errors.ConnectError, match=r"as many connections as it takes .*--limit connections"
        ):
            rpc_magic.connect(url)
        assert first.call(abs, -1) == 1
        first.close()
        eventually(lambda: _can_connect(url))


def _can_connect(url: str) -> bool:
    with contextlib.suppress(errors.ConnectError):
        rpc_magic.connect(url).close()
        return True
    return False


@contextlib.contextmanager
def proved(url: str):
    """A control connection on which anything is said, and little is received.

    Its buffer is made small before it connects: a window that shrinks while something is on its way stalls TCP.
    """
    record = records.find(url)
    assert record is not None
    host, port = url.removeprefix("tcp://").split(":")
    with socket.socket() as sock:
        sock.settimeout(SECONDS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((host, int(port)))
        handshake = ClientHandshake(url, read(record.token_file), Role.CONTROL, b"c" * 16)
        sock.sendall(handshake.hello)
        sock.sendall(handshake.proof(sock.recv(CHALLENGE_SIZE, socket.MSG_WAITALL)))
        sock.recv(VERDICT_SIZE, socket.MSG_WAITALL)
        yield sock


def read(path: str) -> bytes:
    return bytes.fromhex(Path(path).read_text().split()[0])


def said(message: control.Control, seq: int) -> bytes:
    return b"".join(encode_frame(0, seq, 0, control.encode(message)))


def closed(sock: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):
        while sock.recv(1 << 16):
            pass
    return True


def test_requests_on_a_control_connection() -> None:
    """More restarts than one client may have waiting end its connection: nothing gathers in the supervisor."""
    with served() as url, proved(url) as sock:
        client = control.ClientInfo(1, "h", "u", (3, 11, 0))
        flood = b"".join(said(control.Attach("", take=False, client=client), seq) for seq in range(1, 60))
        with contextlib.suppress(ConnectionError):
            sock.sendall(flood)
        assert closed(sock)
        assert _can_connect(url)


def ask_without_end(sock: socket.socket) -> None:
    for first in itertools.count(1, 1000):
        sock.sendall(b"".join(said(control.Ping(seq), seq) for seq in range(first, first + 1000)))


def test_answers_that_nobody_reads() -> None:
    """A client that asks and never reads is let go, before its answers fill the supervisor's memory."""
    with served() as url, proved(url) as sock:
        with pytest.raises(ConnectionError):
            ask_without_end(sock)
        assert _can_connect(url)
