"""Row 25, for calls by name and tasks of the engine: the connection is cut at any byte; they run once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from checks import Server, serving, unharmed
from live import SECONDS, eventually, is_alive
from proxy import Proxy
from speaking import Speaker, attached, token_of
from strangers import dial, prove

import rpc_magic
from rpc_magic import errors
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role, Verdict

np = pytest.importorskip("numpy")

PROGRAM = """
import os, pathlib, time

count, table = 0, None

def bump(n=1):
    global count
    count += n
    return count

def wait_for(path):
    bump()
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    return count

def total(array):
    bump()
    return float(array.sum())

def make(size):
    import numpy
    return numpy.arange(float(size))

def step():
    '''Return what the next call changes.'''
    global table
    import numpy
    table = numpy.zeros(100_000) if table is None else table
    table += 1
    return table

def pid():
    return os.getpid()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that exposes functions, and has sessions."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "counting.py").write_text(PROGRAM)
    with serving(folder, "--port", "0", "--expose", "counting") as one:
        yield one


@pytest.fixture
def conn(server: Server, proxy: Proxy) -> Iterator[rpc_magic.Connection]:
    """A connection that has used its functions."""
    with rpc_magic.connect(proxy.url, token_file=server.token_file) as one:
        one.call("bump", 0)
        yield one


@pytest.mark.parametrize("way", [0, 1])
def test_each_byte(conn: rpc_magic.Connection, proxy: Proxy, way: int) -> None:
    """Cut at each of the bytes of a call's connection, in either direction: it runs once."""
    before = conn.call("bump", 0)
    for n in range(1, 40):
        limits = [proxy.UNLIMITED, proxy.UNLIMITED]
        limits[way] = n * 10
        proxy.schedule([(limits[0], limits[1])] * 2)
        assert conn.call("bump") == before + n


@pytest.mark.parametrize("kind", ["by name", "task"])
def test_the_first_call_of_its_kind(conn: rpc_magic.Connection, proxy: Proxy, kind: str) -> None:
    """One that finds the network cut, and has no connection yet, waits for it as others do."""
    assert conn.call(abs, -1) == 1
    conn.attachment.links.pop(Role.FUNCTIONS).close(errors.ConnectionLostError(proxy.url))
    proxy.refuse(True)
    eventually(lambda: conn.state == "reconnecting")
    with ThreadPoolExecutor() as threads:
        first = (
            threads.submit(conn.call, "bump", 0)
            if kind == "by name"
            else threads.submit(lambda: list(conn.map(abs, [-1, -2])))
        )
        eventually(lambda: conn.attachment.retry.attempt > 2)
        assert not first.done()
        proxy.refuse(False)
        assert first.result(SECONDS) == ([1, 2] if kind == "task" else conn.call("bump", 0))


def test_the_first_call_by_name_after_the_session_died(conn: rpc_magic.Connection, proxy: Proxy) -> None:
    """It needs no session, and waits for the network all the same."""
    conn.call(abs, -1)
    os.kill(conn.attachment.worker_pid, signal.SIGKILL)
    eventually(lambda: conn.state == "died")
    conn.attachment.links.pop(Role.FUNCTIONS).close(errors.ConnectionLostError(proxy.url))
    proxy.schedule([(50, proxy.UNLIMITED)])  # cuts it in the middle of its handshake
    assert conn.call("bump", 0) == conn.call("bump", 0)


def test_a_call_goes_on(server: Server, conn: rpc_magic.Connection, proxy: Proxy, tmp_path: Path) -> None:
    """One that runs goes on while the client is away, those that are asked for meanwhile follow; each runs once."""
    assert conn.call(abs, -1) == 1  # the log tells of clients with a session
    with unharmed(server, "came back"):
        before = conn.call("bump", 0)
        running = conn.submit("wait_for", str(tmp_path / "go"))
        eventually(lambda: conn.attachment.links.has(running.id))
        proxy.refuse(True)
        eventually(lambda: conn.state == "reconnecting")
        queued = [conn.submit("bump") for _ in range(3)]
        (tmp_path / "go").touch()
        proxy.refuse(False)
        assert running.result(SECONDS) == before + 1
        assert [one.result(SECONDS) for one in queued] == [before + 2, before + 3, before + 4]
        eventually(lambda: conn.state == "attached")


def test_large_values(conn: rpc_magic.Connection, proxy: Proxy) -> None:
    """Arguments and results arrive whole when they are cut on their way; `submit` has taken its arguments then."""
    array = np.random.default_rng(1).random(2_000_000)
    before = conn.call("bump", 0)
    for n, at in enumerate((1_000, 2_000_000, 15_000_000), 1):
        want = float(array.sum())
        proxy.schedule([(at, proxy.UNLIMITED)] * 2)
        call = conn.submit("total", array)
        array[:] = np.random.default_rng(n).random(2_000_000)
        assert call.result(SECONDS) == pytest.approx(want)
        assert conn.call("bump", 0) == before + n
        proxy.schedule([(proxy.UNLIMITED, at)] * 2)
        assert (conn.call("make", 2_000_000) == np.arange(2_000_000.0)).all()


def test_results_that_change_afterwards(conn: rpc_magic.Connection, proxy: Proxy) -> None:
    """A result is what it was when its call ended, whatever the next calls do to it before the client is back."""
    first = conn.call("step")[0]
    proxy.flows.clear()
    calls = [conn.submit("step") for _ in range(3)]
    proxy.cut()
    proxy.flows.set()
    assert [call.result(SECONDS)[0] for call in calls] == [first + 1, first + 2, first + 3]
    assert all(len(set(call.result())) == 1 for call in calls)


def test_cancelled_while_it_is_cut(conn: rpc_magic.Connection, proxy: Proxy, tmp_path: Path) -> None:
    """A cancel that is given while the connection is cut reaches its call, and no other one."""
    running = conn.submit("wait_for", str(tmp_path / "never"))
    proxy.refuse(True)
    eventually(lambda: conn.state == "reconnecting")
    assert running.cancel()
    later = conn.submit("bump", 0)
    proxy.refuse(False)
    assert later.result(SECONDS)


def test_tasks(conn: rpc_magic.Connection, proxy: Proxy, tmp_path: Path) -> None:
    """`map` gives every result once and in order, cut again and again; each task runs once."""

    def task(n: int) -> int:
        import pathlib
        import time

        with pathlib.Path(log).open("a") as file:
            file.write(f"{n}\n")
        time.sleep(0.01)
        return n * n

    log = str(tmp_path / "log")
    results = []
    for n, result in enumerate(conn.map(task, range(60), chunksize=1)):
        results.append(result)
        if n % 10 == 5:
            proxy.schedule([(n * 30 + 1, proxy.UNLIMITED), (proxy.UNLIMITED, n * 30 + 1)])
    assert results == [n * n for n in range(60)]
    assert sorted(map(int, Path(log).read_text().split())) == list(range(60))


def test_a_task_goes_on(conn: rpc_magic.Connection, proxy: Proxy, tmp_path: Path) -> None:
    """A task runs on while the client is away, in its process; one that is asked for meanwhile follows."""
    go = tmp_path / "go"

    def wait() -> int:
        import os
        import pathlib
        import time

        pathlib.Path(f"{go}.begun").touch()
        while not pathlib.Path(go).exists():
            time.sleep(0.01)
        return os.getpid()

    call = conn.pool.submit(wait)
    eventually(Path(f"{go}.begun").exists)
    proxy.refuse(True)
    eventually(lambda: conn.state == "reconnecting")
    later = conn.pool.submit(abs, -5)
    go.touch()
    proxy.refuse(False)
    assert call.result(SECONDS) > 0
    assert later.result(SECONDS) == 5


def test_the_session_died(conn: rpc_magic.Connection, proxy: Proxy, tmp_path: Path) -> None:
    """Calls by name survive a cut without a session too, and a new one can be had afterwards."""
    with pytest.raises(errors.SessionDiedError):
        conn.call(lambda: __import__("os")._exit(7))
    before = conn.call("bump", 0)
    running = conn.submit("wait_for", str(tmp_path / "go"))
    proxy.cut()
    (tmp_path / "go").touch()
    assert running.result(SECONDS) == before + 1
    eventually(lambda: not conn.attachment.control.is_gone)
    conn.restart()
    assert conn.call(abs, -1) == 1


def test_the_program_dies(tmp_path: Path) -> None:
    """A server that was killed has taken its program with it: the calls end with an error that says what is known."""
    (tmp_path / "counting.py").write_text(PROGRAM)
    options = ("--port", "0", "--expose", "counting", "--name", "exposing")
    with serving(tmp_path, *options) as server, rpc_magic.connect(server.url) as conn:
        running = conn.submit("wait_for", str(tmp_path / "never"))
        session = conn.submit(time.sleep, 0.5)
        eventually(lambda: conn.info().state == "busy")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        with pytest.raises(errors.ConnectionLostError, match=r"program with it.*not known"):
            running.result(SECONDS)
        server.start()
        assert session.result(SECONDS) is None, "a session's call goes on"
        assert conn.call("bump") == 1


def test_a_client_that_leaves_is_forgotten(server: Server) -> None:
    """The engine of a session keeps nothing for a client that has closed its connection: its processes end."""
    with rpc_magic.connect(server.url, session="kept") as conn:
        process = conn.pool.submit(os.getpid).result(SECONDS)
        worker = conn.info().worker_pid
    eventually(lambda: not is_alive(process))
    assert is_alive(worker)
    with rpc_magic.connect(server.url, session="kept") as conn:
        conn.attachment.end_session("the test is over")
        eventually(lambda: conn.state == "died")


def test_an_engine_s_first_connection_that_was_lost_on_its_way(server: Server) -> None:
    """What a client has asked for on it has not been run, and is asked for again: the engine lets it go on."""
    for number, is_known in ((1, True), (2, False)):
        with attached(server, "") as held, dial(server) as sock:
            client = os.urandom(16)
            verdict = prove(sock, token_of(server), Role.ENGINE, held.ticket, client=client, resume=number)
            assert verdict is Verdict.ADMITTED
            answer = messages.decode_answer(Speaker(sock).hear().message)
            assert answer == messages.Resumed(is_known)
