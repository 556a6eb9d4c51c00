"""Row 15: a session that dies while its client is away: what was finished is read when somebody comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from checks import Server, serving, spooled, unharmed
from live import SECONDS, all_gone, eventually, within
from proxy import Proxy, proxied

import rpc_magic
from rpc_magic import errors
from rpc_magic.client.calls import Call
from rpc_magic.wire import control, messages
from rpc_magic.wire.handshake import Role

FINISHED = """
import pathlib, time
print("first line")
while not pathlib.Path({go!r}).exists(): time.sleep(0.01)
print("last line")
{value}
"""
RUNNING = """
import pathlib, sys, time
print("so far", flush=True)
pathlib.Path({begun!r}).touch()
time.sleep(600)
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, under a name, by which it finds its sessions again."""
    with serving(tmp_path, "--port", "0", "--name", f"mourning-{os.urandom(4).hex()}") as one:
        yield one


@pytest.fixture
def cut(own: Server) -> Iterator[Proxy]:
    """A network before it."""
    with proxied(own.url) as one:
        yield one


def sessions(conn: rpc_magic.Connection) -> dict[str, control.SessionInfo]:
    """Return the server's sessions by their names."""
    answer = conn.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
    return {one.name: one for one in answer.sessions}


def shown_by(conn: rpc_magic.Connection) -> list[str]:
    """Collect the text that background calls show."""
    shown: list[str] = []
    conn.exchange.show = lambda message, _: shown.append(getattr(message, "text", ""))
    return shown


def run_cells(conn: rpc_magic.Connection, proxy: Proxy, folder: Path, value: str = "6 * 7") -> list[Call]:
    """Begin a cell that ends, one that runs on and one that waits; return when the client is cut off and one runs."""

    def cell(source: str) -> Call:
        call = Call(
            "cell",
            lambda outcome, buffers: (outcome, buffers),
            lambda message, _: conn.exchange.show(message, []),
            lambda _: None,
        )
        conn.attachment.link(Role.DATA).start(call, messages.RunCell(source, outputs=()), wait=True)
        return call

    go, begun = folder / "go", folder / "begun"
    calls = [
        cell(FINISHED.format(go=str(go), value=value)),
        cell(RUNNING.format(begun=str(begun))),
        cell("never = 1"),
    ]
    eventually(lambda: conn.info().state == "busy")
    conn.left_calls()  # answered behind the cells: they are there
    proxy.refuse(True)
    eventually(lambda: conn.state == "reconnecting")
    go.touch()
    eventually(begun.exists)
    eventually(
        lambda: b"so far" in spooled(conn.info().worker_pid), "the session notices that nobody is there"
    )
    return calls


def kill(pid: int) -> None:
    """End a worker as an operator, or the kernel out of memory, does."""
    os.kill(pid, signal.SIGKILL)
    all_gone({pid})


def check_ends(calls: list[Call], size: int = 0) -> None:
    """The finished call has its result, of `size` bytes at least; the others say how the session has died."""
    finished, *others = calls
    outcome, buffers = finished.result(SECONDS)
    assert outcome.error is None
    assert sum(map(len, buffers)) >= size
    for call in others:
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            call.result(SECONDS)


def when_it_is_known(server: Server) -> control.SessionInfo:
    """Wait until the server knows that the session has died; return what it says of it."""
    with rpc_magic.connect(server.url) as other:
        return eventually(lambda: (one := sessions(other).get("train")) and one.state == "died" and one)


@pytest.mark.parametrize("session", ["train", None])
def test_its_client_comes_back(own: Server, cut: Proxy, tmp_path: Path, session: str | None) -> None:
    """The finished call has its result and output, the running one its output so far and the death's cause."""
    with (
        unharmed(own, "ended: killed by SIGKILL"),
        rpc_magic.connect(cut.url, token_file=own.token_file, session=session) as conn,
    ):
        shown = shown_by(conn)
        calls = run_cells(conn, cut, tmp_path, "bytes(900_000)")
        kill(conn.info().worker_pid)
        cut.refuse(False)
        check_ends(calls, 900_000)
        assert "".join(shown) == "first line\nlast line\nso far\n"
        assert conn.state == "died"
        conn.restart()
        assert conn.call(abs, -1) == 1
        conn.attachment.end_session("the test is over")
        eventually(lambda: conn.state == "died")


def test_another_kernel(own: Server, cut: Proxy, tmp_path: Path) -> None:
    """It is told of the death, and reads results and output by their numbers; the list shows the session as died."""
    with (
        unharmed(own, "ended: killed by SIGKILL"),
        rpc_magic.connect(cut.url, token_file=own.token_file, session="train") as conn,
    ):
        run_cells(conn, cut, tmp_path)
        kill(conn.info().worker_pid)
        train = when_it_is_known(own)
        assert "SIGKILL" in train.cause
        assert train.pid == 0
        check_what_is_read(own)


def check_what_is_read(server: Server) -> None:
    with rpc_magic.connect(server.url, session="train") as conn:
        assert "SIGKILL" in conn.attachment.died
        assert sessions(conn)["train"].state == "idle", "a new one has its name"
        left = conn.left_calls()
        assert [one.state for one in left] == ["ended"] * 3
        assert [one.label for one in left] == [
            "import pathlib, time",
            "import pathlib, sys, time",
            "never = 1",
        ]
        shown: list[str] = []
        numbers = [one.number for one in left]
        assert conn.left_result(numbers[0], lambda message: shown.append(getattr(message, "text", ""))) == 42
        assert "".join(shown) == "first line\nlast line\n"
        shown.clear()
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            conn.left_result(numbers[1], lambda message: shown.append(getattr(message, "text", "")))
        assert "".join(shown) == "so far\n"
        with pytest.raises(errors.SessionDiedError, match="SIGKILL"):
            conn.left_result(numbers[2])
        conn.attachment.end_session("the test is over")
        eventually(lambda: conn.state == "died")
    with rpc_magic.connect(server.url, session="train") as conn:
        assert conn.attachment.died == ""
        assert conn.left_calls() == ()
        conn.attachment.end_session("the test is over")
        eventually(lambda: conn.state == "died")


@contextlib.contextmanager
def unheard(keeper: psutil.Process) -> Iterator[None]:
    """Have the server learn of deaths only afterwards."""
    keeper.suspend()
    try:
        yield
    finally:
        keeper.resume()


@pytest.mark.parametrize("session", ["train", None])
def test_its_client_is_back_before_the_server_knows(
    own: Server, cut: Proxy, tmp_path: Path, session: str | None
) -> None:
    """The result comes at once when the server learns of the death; and a session that is made then is not ended."""
    with (
        unharmed(own, "ended: killed by SIGKILL"),
        rpc_magic.connect(cut.url, token_file=own.token_file, session=session) as conn,
    ):
        attach = conn.attachment._attach

        def attach_late(request: control.Control) -> None:
            time.sleep(0.3)  # as on a busy machine
            attach(request)

        conn.attachment._attach = attach_late
        calls = run_cells(conn, cut, tmp_path)
        worker = conn.info().worker_pid
        keeper = psutil.Process(worker).parent()
        assert keeper is not None
        with unheard(keeper):
            kill(worker)
            cut.refuse(False)
            connections = cut.connections
            eventually(lambda: cut.connections > connections + 1, "control, and an attempt at data")
        with within(5):
            calls[0].result(SECONDS)
        check_ends(calls)
        conn.restart()
        eventually(lambda: conn.attachment._recovery._reconnecting._thread is None)
        assert conn.call(abs, -1) == 1
        conn.attachment.end_session("the test is over")
        eventually(lambda: conn.state == "died")


def test_the_rest_is_cut_too(own: Server, cut: Proxy, tmp_path: Path) -> None:
    """However often the network breaks while the rest comes, all of it comes, once and in order."""
    value = "import os; [print(n) for n in range(1000)]; bytes(100_000)"
    with rpc_magic.connect(cut.url, token_file=own.token_file, session="train") as conn:
        shown = shown_by(conn)
        calls = run_cells(conn, cut, tmp_path, value)
        kill(conn.info().worker_pid)
        when_it_is_known(own)
        cuts = [budget for at in (60, 150, 250, 5_000, 60_000) for budget in ((cut.UNLIMITED, at),) * 2]
        cut.schedule(cuts)
        cut.refuse(False)
        check_ends(calls, 100_000)
        numbers = "".join(f"{n}\n" for n in range(1000))
        assert "".join(shown) == f"first line\nlast line\n{numbers}so far\n"


@pytest.mark.parametrize("order", ["server first", "session first"])
def test_the_server_is_killed_too(own: Server, cut: Proxy, tmp_path: Path, order: str) -> None:
    """What a dead session has left outlives its supervisor, whichever of the two died first."""
    with rpc_magic.connect(cut.url, token_file=own.token_file, session="train") as conn:
        run_cells(conn, cut, tmp_path)
        worker = conn.info().worker_pid
        if order == "session first":
            kill(worker)
            when_it_is_known(own)
        own.process.kill()
        own.process.wait()
        if order == "server first":
            kill(worker)
        own.start()
        check_what_is_read(own)


def kept_remains() -> Iterator[Path]:
    """Return the files of all servers of this user, some of which remove empty folders meanwhile."""
    for folder, _, names in os.walk(Path(os.environ["RPC_MAGIC_RUNTIME_DIR"]) / "kept"):
        yield from (Path(folder, name) for name in names if name.startswith("died-"))


def restart(server: Server) -> None:
    """Tell the server to end, and start it again."""
    server.process.terminate()
    server.process.wait(SECONDS)
    server.start()


@pytest.mark.parametrize("session", ["train", None])
def test_the_server_is_told_to_end_too(own: Server, cut: Proxy, tmp_path: Path, session: str | None) -> None:
    """The client that comes back to the server which is started again has its result, as from the one before."""
    with rpc_magic.connect(cut.url, token_file=own.token_file, session=session) as conn:
        shown = shown_by(conn)
        calls = run_cells(conn, cut, tmp_path, "bytes(900_000)")
        kill(conn.info().worker_pid)
        eventually(lambda: "ended: killed by SIGKILL" in own.log)
        restart(own)
        cut.lead_to(own.url)
        cut.refuse(False)
        check_ends(calls, 900_000)
        assert "".join(shown) == "first line\nlast line\nso far\n"


def test_the_server_is_told_to_end_again(own: Server, cut: Proxy, tmp_path: Path) -> None:
    """Another kernel reads all of it from the one after that; then nothing of it is on the disk any more."""
    others = set(kept_remains())
    with rpc_magic.connect(cut.url, token_file=own.token_file, session="train") as conn:
        run_cells(conn, cut, tmp_path)
        kill(conn.info().worker_pid)
        when_it_is_known(own)
        restart(own)
        mine = set(kept_remains()) - others
        assert {file.suffix for file in mine} == {".spool", ".death"}
        assert {file.stat().st_mode & 0o777 for file in mine} == {0o600}
        assert conn.attachment.ticket.hex() not in "".join(map(str, mine))
        when_it_is_known(own)
        restart(own)
        check_what_is_read(own)
        assert not mine & set(kept_remains())


def test_the_disk_has_no_trace(own: Server, cut: Proxy, tmp_path: Path) -> None:
    """Spools have no names: none is left whatever is killed; and with the last reader their room is free again."""
    folder = Path(os.environ["RPC_MAGIC_RUNTIME_DIR"])
    before = set(folder.glob("spool-*"))
    with rpc_magic.connect(cut.url, token_file=own.token_file, session="train") as conn:
        worker = conn.info().worker_pid
        keeper = psutil.Process(worker).parent()
        assert keeper is not None
        run_cells(conn, cut, tmp_path, "bytes(1_000_000)")
        assert set(folder.glob("spool-*")) == before
        kill(worker)
        when_it_is_known(own)
        with rpc_magic.connect(own.url, session="train") as other:
            for left in other.left_calls():
                with contextlib.suppress(errors.SessionDiedError):
                    other.left_result(left.number, lambda _: None)
            spools = [f for f in Path(f"/proc/{keeper.pid}/fd").iterdir() if "spool-" in str(f.readlink())]
            assert len(spools) == 1, "the new session's own"
            eventually(lambda: all(f.stat().st_size < 10_000 for f in spools))
