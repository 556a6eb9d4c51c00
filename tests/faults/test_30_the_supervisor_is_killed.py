"""Row 30: the supervisor is killed; its sessions live on, and a server that is started again goes on with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from checks import Server, serving, unharmed
from live import SECONDS, all_gone, eventually, family, is_alive
from proxy import proxied

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime import launch
from rpc_magic.runtime.processes import parent_of
from rpc_magic.wire import control

CELL = """
import pathlib, time
print("begun")
while not pathlib.Path('{go}').exists():
    time.sleep(0.01)
runs = runs + 1
print("ended")
runs
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, under a name, by which it finds its sessions again."""
    with serving(tmp_path, "--port", "0", "--name", "phoenix") as one:
        yield one


def kill(server: Server) -> set[int]:
    """Kill the supervisor alone; return its keeper and workers."""
    others = family(server.process.pid) - {server.process.pid}
    server.process.kill()
    server.process.wait()
    return others


def names_of_sessions(conn: rpc_magic.Connection) -> set[str]:
    answer = conn.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
    return {one.name for one in answer.sessions if one.state != "died"}


def test_a_running_cell_goes_on(server: Server, tmp_path: Path) -> None:
    """It runs once, its output and value come, variables are there, queued calls follow; nobody is told of an error."""
    url, go = server.url, tmp_path / "go"
    with rpc_magic.connect(url) as private, rpc_magic.connect(url, session="train") as conn:
        private.push(mine=5)
        conn.push(runs=0)
        worker = conn.info().worker_pid
        shown: list[str] = []
        values: list[object] = []

        def run() -> None:
            result = conn.run(
                CELL.format(go=go), on_output=lambda message: shown.append(getattr(message, "text", ""))
            )
            values.append(result.value)

        cell = threading.Thread(target=run)
        cell.start()
        eventually(lambda: "begun" in "".join(shown))
        queued = conn.submit(abs, -7)
        others = kill(server)
        eventually(lambda: conn.state == "reconnecting" and private.state == "reconnecting")
        assert all(is_alive(pid) for pid in others)
        server.start()
        assert server.url == url, "the earlier server's port, as it is free"
        eventually(lambda: conn.state == private.state == "attached")
        with unharmed(server):
            go.touch()
            cell.join(SECONDS)
            assert values == [1]
            assert queued.result(SECONDS) == 7
            assert "".join(shown) == "begun\nended\n"
            assert conn.pull("runs") == 1
            assert private.pull("mine") == 5
            assert conn.info().worker_pid == worker
            assert "2 sessions of an earlier server go on" in server.log


def test_what_ends_meanwhile(server: Server, tmp_path: Path) -> None:
    """The keeper knows how a worker ended while there was no server; a call that ended meanwhile has its result."""
    go = tmp_path / "go"

    def wait_and(do) -> object:
        import pathlib
        import time

        while not pathlib.Path(go).exists():
            time.sleep(0.01)
        return do()

    with rpc_magic.connect(server.url) as dies, rpc_magic.connect(server.url) as lives:
        death = dies.submit(wait_and, lambda: os.kill(os.getpid(), signal.SIGKILL))
        result = lives.submit(wait_and, lambda: "done")
        eventually(lambda: dies.info().state == lives.info().state == "busy")
        worker = dies.info().worker_pid
        kill(server)
        go.touch()
        all_gone({worker})
        server.start()
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            death.result(SECONDS)
        assert result.result(SECONDS) == "done"
        dies.restart()
        eventually(lambda: lives.info().state == "idle", "all of its connections are back")
        with unharmed(server):
            assert dies.call(abs, -3) == 3


def test_who_was_cut_meanwhile_is_told_how_it_ended(server: Server) -> None:
    """A client that had not heard of the end is told its cause by the server that is started again."""
    with (
        proxied(server.url) as proxy,
        rpc_magic.connect(proxy.url, token_file=server.token_file, session="cut") as conn,
        rpc_magic.connect(server.url, session="other") as other,
    ):
        conn.call(abs, 1)
        proxy.refuse(True)
        os.kill(conn.attachment.worker_pid, signal.SIGKILL)
        eventually(lambda: "cut" not in names_of_sessions(other), "the server's knowledge of its end")
        kill(server)
        server.start()
        proxy.refuse(False)
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            conn.call(abs, 1)


def test_an_end_while_it_is_cut_and_its_keeper_goes(server: Server) -> None:
    """That no process of the session is there does not tell how it ended: a server that answers does."""
    with (
        proxied(server.url) as proxy,
        rpc_magic.connect(proxy.url, token_file=server.token_file, session="goes") as conn,
    ):
        worker, keeper = conn.attachment.worker_pid, parent_of(conn.attachment.worker_pid)
        kill(server)
        server.start()
        eventually(lambda: conn.state == "attached" and conn.info().state == "idle")
        proxy.refuse(True)
        os.kill(worker, signal.SIGKILL)
        all_gone({worker, keeper})
        first = eventually(lambda: conn.attachment.retry).attempt
        eventually(lambda: conn.state == "lost" or conn.attachment.retry.attempt > first + 2)
        proxy.refuse(False)
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            conn.call(abs, 1)
        conn.restart()
        assert conn.call(abs, -1) == 1


@pytest.mark.parametrize("which", ["adopted", "own"])
def test_a_keeper_is_killed(server: Server, which: str) -> None:
    """Its sessions end with it, and their clients get fresh ones; those of another keeper go on."""
    with rpc_magic.connect(server.url, session="adopted") as adopted:
        adopted.push(x=1)
        kill(server)
        server.start()
        eventually(lambda: adopted.state == "attached" and adopted.info().state == "idle")
        with rpc_magic.connect(server.url, session="own") as own:
            own.push(x=1)
            one, other = (adopted, own) if which == "adopted" else (own, adopted)
            call = one.submit(time.sleep, 600)
            os.kill(parent_of(one.attachment.worker_pid), signal.SIGKILL)
            with pytest.raises(errors.SessionDiedError, match="keeper"):
                call.result(SECONDS)
            one.restart()
            assert one.call(abs, -1) == 1
            assert other.pull("x") == 1


def test_a_session_ends_at_the_same_moment(server: Server) -> None:
    """A busy keeper learns of both at once: that its supervisor is gone, and that a worker is; the others live on."""
    with (
        rpc_magic.connect(server.url, session="ends") as ends,
        rpc_magic.connect(server.url, session="kept") as kept,
    ):
        kept.push(x=1)
        worker = ends.info().worker_pid
        keeper = psutil.Process(parent_of(worker))
        keeper.suspend()
        try:
            os.kill(worker, signal.SIGKILL)
            all_gone({worker})
            kill(server)
        finally:
            keeper.resume()
        server.start()
        eventually(lambda: kept.state == "attached" and kept.info().state == "idle")
        assert kept.pull("x") == 1
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            ends.call(abs, -1)


def test_killed_again_and_ended(server: Server) -> None:
    """Adopted sessions survive the next kill too; a server that is told to end ends them all."""
    with rpc_magic.connect(server.url, session="kept") as conn:
        conn.push(x=1)
        pids = set()
        for _ in range(2):
            pids |= kill(server)
            server.start()
            eventually(lambda: conn.state == "attached" and conn.info().state == "idle")
            assert conn.pull("x") == 1
        with rpc_magic.connect(server.url, session="new") as other:
            assert other.call(abs, -2) == 2
        pids |= family(server.process.pid)
    server.stop()
    all_gone(pids)
    folder = Path(os.environ["RPC_MAGIC_RUNTIME_DIR"])
    left = [path for path in folder.glob("keeper-*") if int(path.name.rpartition("-")[2]) in pids]
    assert not left, "no socket is left"
    server.start()


def test_a_server_that_never_returns(tmp_path: Path) -> None:
    """Its workers end after the stated time."""
    with serving(tmp_path, "--port", "0", "--orphan-ttl", "1") as server:
        with rpc_magic.connect(server.url, session="orphan") as conn:
            conn.submit(lambda: __import__("time").sleep(600))
            eventually(lambda: conn.info().state == "busy")
            all_gone(kill(server))
        server.start()


def test_another_server_takes_nothing(server: Server, tmp_path: Path) -> None:
    """A server under another name leaves the sessions alone, and one that lives keeps its keeper."""
    with rpc_magic.connect(server.url, session="own") as conn:
        conn.push(x=2)
        kill(server)
        folder = tmp_path / "other"
        folder.mkdir()
        with serving(folder, "--port", "0", "--name", "other") as other:
            assert "go on" not in other.log
        server.start()
        eventually(lambda: conn.state == "attached" and conn.info().state == "idle")
        assert conn.pull("x") == 2


def test_without_a_name(tmp_path: Path) -> None:
    """A server is known by its address too; whoever reads what it printed comes to an end when it was killed."""
    command = [sys.executable, "-m", "rpc_magic", "serve", "--unix", str(tmp_path / "socket")]
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": launch.environment(),
    }
    first = subprocess.Popen(command, **options)
    url = first.stdout.readline().strip()
    with rpc_magic.connect(url, session="own") as conn:
        conn.push(x=3)
        first.kill()
        first.communicate(timeout=SECONDS)
        second = subprocess.Popen(command, **options)
        assert second.stdout.readline().strip() == url
        eventually(lambda: conn.state == "attached")
        assert conn.pull("x") == 3
        pids = family(second.pid) | {conn.info().worker_pid}
    second.terminate()
    _, log = second.communicate(timeout=SECONDS)
    assert "1 session of an earlier server goes on" in log
    all_gone(pids)
