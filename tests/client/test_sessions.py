"""Sessions: whose they are, how long they live."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from live import SECONDS, all_gone, eventually, is_alive, served, within

import rpc_magic
from rpc_magic import errors


def test_two_connections_two_sessions(conn, fresh):
    """Variables, modules and the current folder of one session are not seen in another."""
    conn.push(mine=1)
    with pytest.raises(NameError):
        fresh.pull("mine")
    fresh.run("import os; os.chdir('/')")
    assert conn.call(os.getcwd) == str(Path.cwd())
    assert conn.info().worker_pid != fresh.info().worker_pid
    assert conn.info().supervisor_pid == fresh.info().supervisor_pid
    assert conn.info().session != fresh.info().session


def test_session_starts_as_the_program(tmp_path, monkeypatch):
    """On the same machine a session has the client's folder, environment and module path."""
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RPC_MAGIC_TEST_MARK", "here")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "my_lib_of_sessions.py").write_text("value = 5")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    with rpc_magic.connect() as conn:
        assert conn.run("import os, my_lib_of_sessions").value is None
        assert conn.run("os.getcwd(), os.environ['RPC_MAGIC_TEST_MARK'], my_lib_of_sessions.value").value == (
            str(tmp_path),
            "here",
            5,
        )
    sys.modules.pop("my_lib_of_sessions", None)


OTHER = """
import sys, rpc_magic
url, take = sys.argv[1], sys.argv[2] == 'take'
try:
    conn = rpc_magic.connect(url, session='shared', take=take)
except rpc_magic.SessionInUseError as error:
    print(type(error).__name__, error, flush=True)
else:
    print('attached', conn.pull('x'), flush=True)
    conn.push(x='from the other')
    sys.stdin.close()
    import time
    while True:
        try: conn.call(abs, -1)
        except rpc_magic.RpcMagicError as error:
            print(type(error).__name__, error, flush=True)
            break
        time.sleep(0.02)
"""


def test_named_session_is_held_by_one_client(url, script):
    """Another process gets SessionInUseError that says who; with take=True it takes over, and the old one is told."""
    conn = rpc_magic.connect(url, session="shared")
    conn.push(x="from the first")
    refused = script(OTHER, url, "no").finish()
    assert refused.startswith("SessionInUseError")
    assert f"process {os.getpid()}" in refused
    assert "take=True" in refused
    taker = script(OTHER, url, "take")
    assert taker.line() == "attached from the first"
    eventually(lambda: conn.state == "lost")
    with pytest.raises(errors.ConnectionLostError, match=f"process {taker.pid} took"):
        conn.call(abs, -1)
    conn.close()
    back = rpc_magic.connect(url, session="shared", take=True)
    assert back.pull("x") == "from the other"
    assert taker.line().startswith("ConnectionLostError")
    taker.finish()
    back.close()


def test_named_session_outlives_its_client(url):
    """close() leaves a named session alone; it is found again with its variables."""
    with rpc_magic.connect(url, session="stays") as conn:
        conn.push(x=[1, 2])
        pid = conn.info().worker_pid
    assert is_alive(pid)
    with rpc_magic.connect(url, session="stays") as conn:
        assert conn.pull("x") == [1, 2]
        assert conn.info().worker_pid == pid
        assert conn.info().session == "stays"
        assert not conn.attachment.is_new


def test_same_process_takes_over_silently(url):
    """A second connection of the same process to a named session simply has it."""
    first = rpc_magic.connect(url, session="same")
    first.push(x=1)
    second = rpc_magic.connect(url, session="same")
    assert second.pull("x") == 1
    eventually(lambda: first.state == "lost")
    with pytest.raises(errors.ConnectionLostError, match="another connection of this process"):
        first.pull("x")
    first.close()
    assert second.call(abs, -1) == 1
    second.close()


def test_takeover_while_a_call_runs(url, tmp_path):
    """The session goes on with what it runs; the new holder's calls come after it."""
    first = rpc_magic.connect(url, session="busy")
    first.push(x=0)
    go = tmp_path / "go"

    def wait():
        while not go.exists():
            time.sleep(0.01)
        get_ipython().user_ns["x"] = 1  # noqa: F821

    running = first.submit(wait)
    eventually(lambda: first.info().state == "busy")
    second = rpc_magic.connect(url, session="busy")
    with pytest.raises(errors.ConnectionLostError):
        running.result(SECONDS)
    go.touch()
    assert second.pull("x") == 1
    first.close()
    second.close()


def test_private_session_ends_with_close(url):
    """Its process is gone soon after."""
    conn = rpc_magic.connect(url)
    pid = conn.info().worker_pid
    conn.close()
    all_gone({pid})


def test_private_session_is_nobody_elses(url):
    """The name of a private session opens it for no other connection."""
    with rpc_magic.connect(url) as mine:
        mine.push(secret=1)
        with pytest.raises(errors.ConnectError, match="private session"):
            rpc_magic.connect(url, session=mine.info().session, take=True)
        assert mine.pull("secret") == 1


def test_restart_keeps_the_name(url):
    """A restarted named session has the same name and a new process."""
    with rpc_magic.connect(url, session="again") as conn:
        old = conn.info()
        conn.restart()
        assert conn.info().session == "again"
        assert conn.info().worker_pid != old.worker_pid
    with rpc_magic.connect(url, session="again") as conn:
        assert not conn.attachment.is_new


def test_sessions_start_quickly(conn):
    """A second session on a running server is there within a fraction of a second."""
    with within(1.0), rpc_magic.connect() as other:
        assert other.call(abs, -1) == 1


def test_collections_leave_what_every_session_loads_alone(fresh):
    """Python's collector looks at what a session has made, not at IPython: at little, so memory stays shared."""

    def count(_):
        import gc

        return len(gc.get_objects())

    assert fresh.call(count, 0) < 10_000
    assert next(fresh.map(count, [0])) < 10_000


def test_random_numbers_differ_between_sessions(conn, fresh):
    """Sessions do not share the state of random generators, although they are forked from one process."""

    def draw():
        import random

        import numpy as np

        return random.random(), float(np.random.rand())

    one, two = conn.call(draw), fresh.call(draw)
    assert one[0] != two[0]
    assert one[1] != two[1]


def test_many_sessions_and_the_limit():
    """As many sessions as are allowed; one more is told the limit; those there go on."""
    with served() as url:
        conns = [rpc_magic.connect(url) for _ in range(64)]
        with pytest.raises(errors.ConnectError, match="64 sessions"):
            rpc_magic.connect(url)
        calls = [one.submit(os.getpid) for one in conns]
        assert len({call.result(60) for call in calls}) == 64
        conns.pop().close()
        eventually(lambda: _connects(url))
        for one in conns:
            one.close()


def _connects(url):
    try:
        rpc_magic.connect(url).close()
    except errors.ConnectError:
        return False
    return True


def test_client_that_is_silent_but_alive_keeps_its_session(url, monkeypatch):
    """A client that only waits is heard from all the time, so nobody takes its session unasked."""
    from rpc_magic.client import attachment
    from rpc_magic.settings import ClientSettings, ServerSettings

    assert ClientSettings().beat_seconds < ServerSettings().silent_seconds / 2
    monkeypatch.setattr(attachment, "ClientSettings", lambda: ClientSettings(beat_seconds=0.05))
    conn = rpc_magic.connect(url, session="waiting")
    sent = conn.attachment.control._frames.bytes_sent
    eventually(lambda: conn.attachment.control._frames.bytes_sent > sent, "a ping")
    conn.close()


def test_idle_sessions_end(tmp_path):
    """A named session without a client ends after its time; not while it is busy, and idle time begins after that."""
    with served(session_ttl=1.0) as url:
        idle = rpc_magic.connect(url, session="idle")
        busy = rpc_magic.connect(url, session="busy")
        go = tmp_path / "go"
        busy.submit(lambda path: [time.sleep(0.02) for _ in iter(path.exists, True)], go)
        eventually(lambda: busy.info().state == "busy")
        pids = {idle.info().worker_pid}, {busy.info().worker_pid}
        idle.close()
        busy.close()
        all_gone(pids[0])
        time.sleep(1.5)
        with rpc_magic.connect(url, session="busy") as back:
            assert not back.attachment.is_new
        go.touch()
        all_gone(pids[1])


def test_what_was_received_is_offered_to_nobody(url: str) -> None:
    """A result that came just before its client left is not one of those that wait for another client."""
    with rpc_magic.connect(url, session="leaving") as conn:
        conn.call(abs, -1)
    with rpc_magic.connect(url, session="leaving") as conn:
        assert conn.left_calls() == ()
