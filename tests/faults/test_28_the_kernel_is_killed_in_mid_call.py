"""Row 28: the kernel is killed in mid-call; the call finishes, a new kernel attaches and gets outputs and result."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from checks import Server, unharmed
from jupyter_client.manager import start_new_kernel
from live import SECONDS, Script, eventually

import rpc_magic
from rpc_magic import errors
from rpc_magic.wire import control

KERNEL = """
import sys, rpc_magic
conn = rpc_magic.connect(sys.argv[1], session=sys.argv[2])
conn.push(data=[1, 2, 3])
conn.submit(print, "of a call that has ended").result()
def show(message):
    print(getattr(message, "text", "").strip(), flush=True)
conn.run(open(sys.argv[3]).read(), on_output=show)
"""

CELL = """
import pathlib, time
for i in range(5):
    print('line', i)
    time.sleep(0.05)
while not pathlib.Path('{go}').exists():
    time.sleep(0.05)
print('the last line')
sum(data) * 7
"""


def killed(server: Server, script, tmp_path, session: str) -> None:
    """Run a kernel until its cell has shown something, and kill it."""
    (tmp_path / "cell.py").write_text(CELL.format(go=tmp_path / "go"))
    kernel: Script = script(KERNEL, server.url, session, str(tmp_path / "cell.py"))
    while "line 2" not in kernel.line():
        pass
    kernel.signal(signal.SIGKILL)
    kernel.process.wait()


def test_running_call(server: Server, script, tmp_path) -> None:
    """The running call is listed; its output so far comes, then what it shows, then its value."""
    rpc_magic.connect(server.url, session="train").close()
    with unharmed(server, "gone without a word"):
        killed(server, script, tmp_path, "train")
        with rpc_magic.connect(server.url) as other:
            answer = other.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
        (listed,) = [one for one in answer.sessions if one.name == "train"]
        assert listed.state == "busy"
        conn = eventually(lambda: _attach(server, "train"))
        with conn:
            (left,) = conn.left_calls()
            assert (left.state, left.label) == ("running", "import pathlib, time")
            shown: list[str] = []

            def show(message) -> None:
                shown.append(getattr(message, "text", ""))
                (tmp_path / "go").touch()

            assert conn.left_result(left.number, show) == 42
            text = "".join(shown)
            assert text == "".join(f"line {i}\n" for i in range(5)) + "the last line\n"
            assert conn.pull("data") == [1, 2, 3]
            assert conn.left_calls() == ()
            with pytest.raises(errors.RpcMagicError, match="no call 1 that was left"):
                conn.left_result(left.number)


def test_call_that_has_ended_meanwhile(server: Server, script, tmp_path) -> None:
    """The result of a call that ended while nobody was there is kept, for a third kernel too."""
    killed(server, script, tmp_path, "ended")
    (tmp_path / "go").touch()
    conn = eventually(lambda: _attach(server, "ended"))
    eventually(lambda: conn.left_calls()[0].state == "ended")
    conn.close()
    with rpc_magic.connect(server.url, session="ended") as conn:
        (left,) = conn.left_calls()
        shown: list[str] = []
        assert conn.left_result(left.number, lambda message: shown.append(getattr(message, "text", ""))) == 42
        assert "".join(shown).startswith("line 0\n")
        assert conn.call(abs, -1) == 1


def test_calls_of_the_next_client_are_its_own(server: Server, script, tmp_path) -> None:
    """A call that runs on is not taken for one of the new client, though both count from 1; Stop reaches it."""
    killed(server, script, tmp_path, "numbers")
    conn = eventually(lambda: _attach(server, "numbers"))
    with conn:
        queued = [conn.submit(abs, -n) for n in range(5)]
        assert queued[2].cancel()
        (left,) = conn.left_calls()
        assert left.state == "running"
        call = left.number
        with pytest.raises(errors.CallTimeoutError):
            conn.left_result(call, lambda message: None, timeout=0.3)
        assert [one.result(30) for one in queued if not one.cancelled()] == [0, 1, 3, 4]


@contextmanager
def restarted(connect: str, cell: str) -> Iterator[None]:
    """A kernel that was restarted, as from the page, when a remote cell of it had shown its line 2."""
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=SECONDS)
    try:
        client.execute(f"%load_ext rpc_magic\n{connect} --no-widget\ndata = [1, 2, 3]")
        client.execute(f"%%rpc_call\n{cell}")
        while "line 2" not in str(client.get_iopub_msg(timeout=SECONDS)["content"]):
            pass
        manager.restart_kernel()
        yield
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_kernel_that_is_restarted_from_the_page(server: Server, tmp_path) -> None:
    """Jupyter interrupts a kernel before it ends it; the remote cell takes that for no Stop, and runs on."""
    connect = f"%rpc_connect {server.url} --session restarted"
    cell = CELL.format(go=tmp_path / "go")
    with restarted(connect, cell), eventually(lambda: _attach(server, "restarted")) as conn:
        (left,) = conn.left_calls()
        assert left.state == "running"
        (tmp_path / "go").touch()
        assert conn.left_result(left.number, lambda message: None) == 42


def test_kernel_with_a_private_session_that_is_restarted(server: Server, tmp_path) -> None:
    """Nobody can come back to its cell, which is stopped."""
    stopped = tmp_path / "stopped"
    cell = (
        "import pathlib, time\nprint('line', 2, flush=True)\n"
        f"try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    pathlib.Path({str(stopped)!r}).touch()"
    )
    with restarted(f"%rpc_connect {server.url}", cell):
        eventually(stopped.exists)


def _attach(server: Server, session: str) -> rpc_magic.Connection | None:
    try:
        return rpc_magic.connect(server.url, session=session)
    except errors.SessionInUseError:  # the server has not heard of the kernel's end yet
        return None
