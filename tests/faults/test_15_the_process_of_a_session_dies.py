"""Row 15: segfault, abort, kill, exit of a session's process: told within a second, with its last words."""

from __future__ import annotations

import time

import pytest
from checks import Server, unharmed
from live import SECONDS, all_gone, eventually, within
from proxy import Proxy

import rpc_magic
from rpc_magic import errors


def finish() -> str:
    return "finished before"


def die(how: str) -> None:
    import ctypes
    import os
    import signal

    os.write(2, b"my last words\n")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(7)


CAUSES = {
    "segfault": "killed by SIGSEGV",
    "abort": "killed by SIGABRT",
    "kill": "killed by SIGKILL",
    "exit": "its process exited with status 7",
}


@pytest.mark.parametrize("how", CAUSES)
def test_death(server: Server, how: str) -> None:
    """Cause and last words are told within a second, finished results are there, a restart gives a fresh session."""
    with unharmed(server, f"ended: {CAUSES[how]}"), rpc_magic.connect(server.url) as conn:
        done = conn.submit(finish)
        eventually(done.done)  # and with it this module is there, and pytest, whose import takes its time
        with within(1.0), pytest.raises(errors.SessionDiedError, match=CAUSES[how]) as caught:
            conn.call(die, how)
        assert "my last words" in caught.value.last_words
        if how in {"segfault", "abort"}:
            assert "in die" in caught.value.last_words, "faulthandler's stack"
        assert done.result(SECONDS) == "finished before"
        conn.restart()
        assert conn.call(abs, -3) == 3


@pytest.mark.parametrize("how", CAUSES)
def test_what_was_printed_just_before(server: Server, how: str) -> None:
    """The last words are also those that Python code has printed and that nobody had sent yet, each once."""
    with rpc_magic.connect(server.url) as conn:
        conn.run("import sys\nprint('of the call before', file=sys.stderr)")
        shown: list[object] = []
        source = (
            "print('step 1', flush=True)\nprint('warned', file=sys.stderr, flush=True)\n"
            f"print('step 2')\nprint('warned again', file=sys.stderr)\ndie({how!r})"
        )
        conn.push(die=die)
        with pytest.raises(errors.SessionDiedError, match=CAUSES[how]) as caught:
            conn.run(source, on_output=shown.append)
        assert [message.text for message in shown] == ["step 1\n", "warned\n"]
        words = "warned\nstep 2\nwarned again\nmy last words"
        assert caught.value.last_words.startswith(words)


def test_death_while_the_connection_is_cut(server: Server, proxy: Proxy, tmp_path) -> None:
    """A client that was not connected then is told how the session ended when it is back."""
    with rpc_magic.connect(proxy.url, token_file=server.token_file) as conn:
        assert conn.info().url == proxy.url, "not what the server calls itself: there may be a tunnel between"
        go = tmp_path / "go"
        call = conn.submit(lambda: [time.sleep(0.02) for _ in iter(go.exists, True)] and die("exit"))
        eventually(lambda: conn.info().state == "busy")
        pid = conn.attachment.worker_pid
        proxy.refuse(True)
        eventually(lambda: conn.state == "reconnecting")
        go.touch()
        all_gone({pid})
        proxy.refuse(False)
        with pytest.raises(errors.SessionDiedError, match="status 7"):
            call.result(SECONDS)
        assert conn.state == "died"
        conn.restart()
        assert conn.call(abs, -1) == 1
