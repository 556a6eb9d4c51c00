"""Sessions are kept when a server is told to end, and are had back from one that is started again: real ones."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import SECONDS, eventually, served

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime.folders import runtime_folder
from rpc_magic.runtime.keptremains import Death
from rpc_magic.runtime.keptsessions import digest_of
from rpc_magic.server.keeping import Keeping
from rpc_magic.server.remains import Remains, RemainsTable
from rpc_magic.settings import KIB, ServerSettings
from rpc_magic.wire import control

NAME = "phoenix"


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder for each test; a short path, as sockets lie in it too."""
    with tempfile.TemporaryDirectory(prefix="rpcm-test-") as folder:
        monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", folder)
        yield


def kept_files() -> list[Path]:
    return sorted((runtime_folder() / "kept").glob("*/*"))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What connecting has told the user."""
    return "".join(
        line for line in capsys.readouterr().err.splitlines(keepends=True) if line.startswith("rpc_magic:")
    )


def end() -> None:
    """Have the server end, as told once."""
    served.process.terminate()
    served.process.wait(SECONDS)


def lost(conn: rpc_magic.Connection) -> str:
    """Why the connection was lost."""
    eventually(lambda: conn.state == "lost")
    with pytest.raises(errors.ConnectionLostError) as raised:
        conn.call(abs, -1)
    return str(raised.value)


def test_a_named_session_is_had_back_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By any client: with what its variables share, and without what cannot be kept, which is told; only once."""
    with served(name=NAME) as url:
        rpc_magic.connect(url, session="other").close()
        with rpc_magic.connect(url, session="train") as conn:
            conn.run("shared = [1]\npair = (shared, shared)\nstream = (i for i in shared)")
            conn.run("def double(): return factor * 2\nfactor = 21")
        capsys.readouterr()
    assert [file.suffix for file in kept_files()] == [".record", ".session"], "nothing of an empty session"
    assert {file.stat().st_mode & 0o777 for file in kept_files()} == {0o600}
    assert kept_files()[0].parent.stat().st_mode & 0o777 == 0o700
    with served(name=NAME) as url:
        with rpc_magic.connect(url, session="train") as conn:
            line = said(capsys)
            assert re.search(r"session train has its variables from when its server ended \(\d{4}-", line)
            assert "shared, pair, double, factor; not kept: stream (generator) cannot travel" in line
            assert line.count("\n") == 1
            assert conn.run("assert pair[0] is pair[1] and double() == 42")
            conn.push(factor=1)
        assert kept_files() == []
        with rpc_magic.connect(url, session="train") as conn:
            assert said(capsys) == ""
            assert conn.pull("factor") == 1
            conn.restart()
            with pytest.raises(errors.MissingNameError):
                conn.pull("factor")


def test_a_private_session_is_had_back_by_its_client(capsys: pytest.CaptureFixture[str]) -> None:
    """Connecting again gives it back, the ticket too; nobody else gets it, nor who has left it."""
    with served(name=NAME) as url:
        left = rpc_magic.connect(url)
        left.push(mine="left")
        mine = rpc_magic.connect(url, name="mine")
        mine.push(mine=7)
        left.close()
        end()
        assert "its variables are kept for the next start" in lost(mine)
    ticket = mine.attachment.ticket
    assert ticket.hex() not in "".join(map(str, kept_files()))
    assert ticket.hex().encode() not in b"".join(file.read_bytes() for file in kept_files())
    with served(name=NAME) as url:
        capsys.readouterr()
        with rpc_magic.connect(url) as other, pytest.raises(errors.MissingNameError):
            other.pull("mine")
        with rpc_magic.connect(url, name="mine") as again:
            assert "the private session has its variables" in said(capsys)
            assert again.pull("mine") == 7
            assert again.attachment.ticket == ticket
        with rpc_magic.connect(url, name="mine") as anew, pytest.raises(errors.MissingNameError):
            anew.pull("mine")
    mine.close()


def test_results_that_nobody_has_received(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A call that ended while no client was there is asked for as before: what it showed, and its value or error."""
    go = tmp_path / "go"

    def wait(fail: bool) -> object:
        import numpy as np

        while not go.exists():
            time.sleep(0.01)
        print("shown", fail)
        if fail:
            raise LookupError("not here")
        return np.arange(1_000_000)

    def last(text: str) -> int:
        (tmp_path / "last").touch()
        return len(text)

    with served(name=NAME) as url:
        conn = rpc_magic.connect(url, session="s")
        conn.submit(wait, False)
        conn.submit(wait, True)
        conn.submit(last, "received")
        eventually(lambda: conn.info().state == "busy")
        conn.close()
        go.touch()
        with rpc_magic.connect(url) as other:
            eventually((tmp_path / "last").exists)  # between two calls it is idle as well
            eventually(lambda: states(other)["s"] == "idle")
    with served(name=NAME) as url, rpc_magic.connect(url, session="s") as conn:
        assert "3 calls have ended meanwhile" in said(capsys)
        calls = conn.left_calls()
        assert [call.state for call in calls] == ["ended"] * 3
        shown: list[str] = []
        value = conn.left_result(
            calls[0].number, on_output=lambda message: shown.append(getattr(message, "text", ""))
        )
        assert "".join(shown) == "shown False\n"
        assert value.sum() == 499_999_500_000
        with pytest.raises(LookupError, match="not here"):
            conn.left_result(calls[1].number)
        assert conn.call(abs, -1) == 1
        assert conn.left_result(calls[2].number) == 8
        assert conn.left_calls() == ()
        assert kept_files() == []


def test_results_over_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told, to the log and to whoever comes back; those that fit are kept."""
    go = tmp_path / "go"

    def wait() -> None:
        while not go.exists():
            time.sleep(0.01)

    def last(text: str) -> int:
        (tmp_path / "last").touch()
        return len(text)

    with served(name=NAME, limits={"kept": 100 * KIB}) as url:
        conn = rpc_magic.connect(url, session="s")
        conn.submit(wait)
        conn.submit(bytes, 200_000)
        conn.submit(last, "small")
        eventually(lambda: conn.info().state == "busy")
        conn.close()
        go.touch()
        with rpc_magic.connect(url) as other:
            eventually((tmp_path / "last").exists)
            eventually(lambda: states(other)["s"] == "idle")
        conn = rpc_magic.connect(url, session="s")
        end()
        assert "results of calls that have ended and could not be kept: 1" in lost(conn)
    with served(name=NAME) as url, rpc_magic.connect(url, session="s") as conn:
        line = said(capsys)
        assert "result 2 of 3, of " in line
        assert "it has 200," in line
        assert "over the limit" in line
        assert conn.left_result(conn.left_calls()[-1].number) == 5


def states(conn: rpc_magic.Connection) -> dict[str, str]:
    """The state of each session, by its name."""
    answer = conn.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
    assert isinstance(answer, control.Sessions)
    return {one.name: one.state for one in answer.sessions}


def test_what_is_too_large_or_takes_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told; the rest is kept."""
    source = """
import time
class Slow:
    def __reduce__(self):
        time.sleep(600)
slow, small, large = Slow(), 5, bytes(200_000)
"""
    with served(name=NAME, limits={"kept": 100 * KIB}) as url, rpc_magic.connect(url, session="s") as conn:
        conn.run(source)
        began = time.monotonic()
        end()
        assert "of its variables are kept for the next start, 2 could not be" in lost(conn)
        assert time.monotonic() - began < SECONDS
    with served(name=NAME) as url, rpc_magic.connect(url, session="s") as conn:
        line = said(capsys)
        assert "slow (saving it takes too long)" in line
        assert "large (it has 200," in line
        assert conn.pull("small") == 5
        with pytest.raises(errors.MissingNameError):
            conn.pull("large")


def test_a_call_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that ends when it is interrupted costs nothing; one that does not costs its session's variables, no others.

    What waits behind it does not begin.
    """
    begun = tmp_path / "begun"
    deaf = f"""
import ctypes, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
open({str(begun)!r}, "w").close()
ctypes.PyDLL(None).sleep(600)
"""
    with served(name=NAME) as url:
        held, busy = rpc_magic.connect(url, session="held"), rpc_magic.connect(url, session="busy")
        held.push(x=1)
        busy.push(x=2)
        held.submit(exec, deaf)
        eventually(begun.exists)
        running = busy.submit(time.sleep, 600)
        eventually(lambda: busy.info().state == "busy")
        waiting = busy.submit((tmp_path / "late").touch)
        end()
        for call in (running, waiting):
            with pytest.raises((errors.ConnectionLostError, errors.RemoteInterrupt)):
                call.result(SECONDS)
        assert "told to end" in lost(held)
    assert not (tmp_path / "late").exists()
    with served(name=NAME) as url:
        capsys.readouterr()
        with rpc_magic.connect(url, session="held") as conn:
            assert "session held is new: nothing was kept of it" in (line := said(capsys))
            assert "a call was still running" in line
            with pytest.raises(errors.MissingNameError):
                conn.pull("x")
        with rpc_magic.connect(url, session="busy") as conn:
            assert conn.pull("x") == 2
    held.close()
    busy.close()


def test_a_call_that_imports_as_it_is_interrupted(tmp_path: Path) -> None:
    """Nobody is asked for a module any more, so the call ends: IPython imports some for the first traceback."""
    begun = tmp_path / "begun"
    slow = f"""
import contextlib, time
try:
    open({str(begun)!r}, "w").close()
    time.sleep(600)
finally:
    with contextlib.suppress(ImportError):
        import there_is_no_such_module
"""
    with served(name=NAME) as url:
        conn = rpc_magic.connect(url, session="imports")
        conn.push(x=3)
        call = conn.submit(exec, slow)
        eventually(begun.exists)
        end()
        with pytest.raises((errors.ConnectionLostError, errors.RemoteInterrupt)):
            call.result(SECONDS)
    with served(name=NAME) as url, rpc_magic.connect(url, session="imports") as again:
        assert again.pull("x") == 3
    conn.close()


def test_the_disk_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told at both times, and no file is half written."""
    # Without privileges no disk can be filled; a limit on the size of files gives a process the same error.
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
    with served(name=NAME) as url, rpc_magic.connect(url, session="s") as conn:
        conn.run(full + "\nx = bytes(100_000)")
        end()
        assert "its variables could not be kept: File too large" in lost(conn)
    assert [file.suffix for file in kept_files()] == [".record"]
    with served(name=NAME) as url, rpc_magic.connect(url, session="s"):
        assert "session s is new: nothing was kept of it" in (line := said(capsys))
        assert "File too large" in line
        assert kept_files() == []


def test_what_cannot_be_loaded(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, with the file, which stays; the session is there."""
    (tmp_path / "going.py").write_text("class Thing:\n    pass\n")
    with served(name=NAME) as url, rpc_magic.connect(url, session="s") as conn:
        conn.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport going\nthing = going.Thing()")
    (tmp_path / "going.py").unlink()
    for cached in tmp_path.glob("__pycache__/*"):
        cached.unlink()
    with served(name=NAME) as url:
        with rpc_magic.connect(url, session="s") as conn:
            line = said(capsys)
            assert "cannot be loaded" in line
            assert "going" in line
            (file,) = kept_files()
            assert f"{file} on the server's machine; %rpc_load takes them" in line
            assert conn.call(abs, -2) == 2
        with rpc_magic.connect(url, session="s"):
            assert said(capsys) == "", "what is newer by then is not written over"


def test_nothing_is_kept_where_that_is_not_wanted() -> None:
    """With `--no-keep`, and where no later server could be known to be the same one."""
    for config in ({"name": NAME, "keep": False}, {}):
        with served(**config) as url, rpc_magic.connect(url, session="s") as conn:
            conn.push(secret=1)
        assert kept_files() == []


def test_what_nobody_wants_is_deleted() -> None:
    """After `--session-ttl`: by the same server, and by any other one of this user; what is not so old stays."""
    with served(name=NAME, session_ttl=0.3) as url, rpc_magic.connect(url, session="s") as conn:
        conn.push(x=1)
    with served(name=NAME) as url, rpc_magic.connect(url, session="young") as conn:
        conn.push(x=1)
    with served(name=NAME):
        eventually(lambda: len(kept_files()) == 2)
    with served(name=NAME, session_ttl=0.3) as url, rpc_magic.connect(url, session="old") as conn:
        conn.push(x=1)
    with served(name="another", session_ttl=0.3):
        eventually(lambda: len(kept_files()) == 2)
    with served(name=NAME, session_ttl=2.0) as url, rpc_magic.connect(url, session="soon") as conn:
        conn.push(x=1)
    with served(name="another", session_ttl=0.3):
        eventually(lambda: len(kept_files()) == 2)


NOISE = """
import contextlib, os, socket, threading, time
links = [fd for fd in map(int, os.listdir("/proc/self/fd")) if "socket:" in os.path.realpath(f"/proc/self/fd/{fd}")]
links = [socket.socket(fileno=os.dup(fd)) for fd in links]
def speak():
    while True:
        time.sleep(0.001)
        for link in links:
            if link.type == socket.SOCK_SEQPACKET:
                with contextlib.suppress(OSError):
                    link.send(b"no message", socket.MSG_DONTWAIT)
threading.Thread(target=speak, daemon=True).start()
"""


def test_what_user_code_says_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    """To the server, on the socket of its own process: it costs no session its variables."""
    with served(name=NAME) as url:
        noisy, train = (rpc_magic.connect(url, session=name) for name in ("noisy", "train"))
        with noisy, train:
            train.push(value=1)
            train.run(
                "class Slow:\n def __reduce__(self):\n  import time; time.sleep(1); return str, ('slow',)"
            )
            train.run("slow = Slow()")
            noisy.run("mine = 2")
            noisy.run(NOISE)
            end()
    with served(name=NAME) as url:
        for session, name, value in (("train", "value", 1), ("noisy", "mine", 2)):
            with rpc_magic.connect(url, session=session) as conn:
                assert conn.pull(name) == value


def test_what_is_let_go_of_meanwhile() -> None:
    """A client that leaves while what sessions have left is written costs nobody else's."""
    spools = [os.memfd_create("spool") for _ in range(3)]
    table = RemainsTable(ServerSettings())
    for number, spool in enumerate(spools):
        death = Death("private", True, str(number), digest_of(b"%d" % number), "killed", "")
        table.add(Remains(death, True, spool, lambda: None, time.monotonic()))
    keeping = Keeping(NAME, ServerSettings())

    async def run() -> None:
        writing = asyncio.create_task(keeping.keep_left(table.with_spool()))
        await asyncio.sleep(0)
        table.leave(b"0")
        table.leave(b"1")
        await writing

    asyncio.run(run())
    table.leave(b"2")
    left = {death.owner: spool for death, spool, _ in keeping.left()}
    for spool in left.values():
        os.close(spool)
    assert "2" in left
    assert "1" not in left
