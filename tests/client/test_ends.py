"""How things end: the user's process, the worker, the server, the connection."""

from __future__ import annotations

import os
import signal
import time
import traceback
from pathlib import Path

import pytest
from live import SECONDS, all_gone, eventually, family, is_alive, served, within

import rpc_magic
from rpc_magic import errors
from rpc_magic.wire import messages


def add(a, b=0):
    return a + b


def descriptors_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def die(how):
    import ctypes
    import os
    import signal

    os.write(2, b"my last words\n")
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "abort":
        os.abort()
    os._exit(7)


# ---------------------------------------------------------------- the user's process

BUSY_USER = """
import os, subprocess, sys, time
import rpc_magic

def make_orphan():
    '''A grandchild whose parent has gone, in a session of its own.'''
    import os, subprocess, sys
    code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return os.getpid()

conn = rpc_magic.connect()
other = rpc_magic.connect()
assert conn.info().supervisor_pid == other.info().supervisor_pid
assert conn.call(make_orphan) != other.call(make_orphan)
assert list(conn.map(abs, range(-3, 0))) == [3, 2, 1]
print(conn.info().supervisor_pid, flush=True)
"""


@pytest.mark.parametrize("way", ["return", "exception", "os._exit", "kill", "terminate", "kill while busy"])
def test_no_process_outlives_its_user(script, way):
    """However the user's process ends, supervisor, keeper, workers, engine and orphans of user code end too."""
    rest = {
        "return": "sys.stdin.close()",
        "exception": "raise ValueError",
        "os._exit": "os._exit(3)",
        "kill while busy": "conn.submit(time.sleep, 600); conn.pool.submit(time.sleep, 600); time.sleep(600)",
    }.get(way, "time.sleep(600)")
    program = script(
        BUSY_USER + "import select; select.select([], [], [], 0.05)\nprint('ready', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n" + rest
    )
    supervisor = int(program.line())
    program.line()
    pids = family(supervisor)
    assert len(pids) >= 2 + 2 + 2, "supervisor, keeper, two workers, two orphans"
    folder = program.process.args[-1].rsplit("/", 1)[0]
    Path(folder, "go").touch()
    if way.startswith("kill"):
        if "busy" in way:
            time.sleep(0.2)
        program.signal(signal.SIGKILL)
    elif way == "terminate":
        program.signal(signal.SIGTERM)
    status = {"return": 0, "exception": 1, "os._exit": 3, "terminate": -15}.get(way, -9)
    program.finish(status)
    all_gone(pids)


def test_supervisor_killed(script):
    """When the supervisor of an embedded server is killed, its children end, waiting calls fail, connect() works."""
    program = script(
        "import rpc_magic, time, sys\n"
        "conn = rpc_magic.connect()\n"
        "print(conn.info().supervisor_pid, flush=True)\n"
        "try: conn.call(time.sleep, 600)\n"
        "except rpc_magic.ConnectionLostError as error: print('lost', flush=True)\n"
        "try: conn.call(abs, -1)\n"
        "except rpc_magic.ConnectionLostError as error: print(conn.info().state, flush=True)\n"
        "new = rpc_magic.connect()\n"
        "print(new.call(abs, -2), flush=True)\n"
    )
    supervisor = int(program.line())
    pids = family(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    assert [program.line() for _ in range(3)] == ["lost", "lost", "2"]
    program.finish()
    all_gone(pids)


def test_forked_child_uses_its_own(script):
    """A forked child is told to connect() itself, gets a server of its own, and the parent's connection lives."""
    program = script(
        "import os, rpc_magic, sys\n"
        "conn = rpc_magic.connect()\n"
        "value = conn.put([1])\n"
        "conn.call(abs, -1)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    try: conn.call(abs, -1)\n"
        "    except rpc_magic.RpcMagicError as error: print('child:', error, flush=True)\n"
        "    try: conn.submit(abs, -1)\n"
        "    except rpc_magic.RpcMagicError as error: pass\n"
        "    del value\n"
        "    conn.close()\n"
        "    own = rpc_magic.connect()\n"
        "    print(own.info().supervisor_pid, own.call(abs, -2), flush=True)\n"
        "    sys.exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "print(conn.info().supervisor_pid, conn.call(abs, -3), value.get(), flush=True)\n",
        options=("-W", "error", "-W", "ignore::DeprecationWarning"),
    )
    assert "connect() there" in program.line()
    child, two = program.line().split()
    parent, three, value = program.line().split()
    assert (two, three, value) == ("2", "3", "[1]")
    assert child != parent
    program.finish()
    all_gone({int(child), int(parent)})


def test_light_import_and_no_ipython(script):
    """A script that imports, connects and calls has loaded neither IPython nor numpy, and prints no warning."""
    program = script(
        "import time, sys\nbegan = time.process_time()\nimport rpc_magic\nspent = time.process_time() - began\n"
        "early = [m for m in ('dill', 'asyncio', 'numpy', 'psutil') if m in sys.modules]\n"
        "conn = rpc_magic.connect()\n"
        "def add(a, b): return a + b\n"
        "print(conn.call(add, 2, 3), spent, early,\n"
        "      [m for m in ('IPython', 'ipywidgets', 'numpy', 'pandas') if m in sys.modules])\n"
    )
    five, spent, early, late = program.finish().split(maxsplit=3)
    assert five == "5"
    assert float(spent) < 0.5
    assert (early, late.strip()) == ("[]", "[]")
    assert program.errors == ""


# ---------------------------------------------------------------- the worker


@pytest.mark.parametrize(
    ("how", "cause"),
    [("segfault", "SIGSEGV"), ("kill", "SIGKILL"), ("abort", "SIGABRT"), ("exit", "status 7")],
)
def test_death_of_the_worker(conn, fresh, how, cause):
    """SessionDiedError within a second, with cause and last words; restart works; another session is untouched."""
    conn.push(kept=how)
    fresh.call(add, 1, 1)
    waiting = fresh.submit(time.sleep, 0)
    with within(1.0), pytest.raises(errors.SessionDiedError, match=cause) as caught:
        fresh.call(die, how)
    assert "my last words" in caught.value.last_words, "what was written to the descriptor"
    assert waiting.result(SECONDS) is None
    if how == "segfault":
        assert "in die" in caught.value.last_words, "faulthandler's words"
    with pytest.raises(errors.SessionDiedError, match=cause):
        fresh.call(add, 1, 1)
    assert fresh.state == "died"
    assert fresh.info().state == "ended"
    assert conn.pull("kept") == how
    old = fresh.info().worker_pid
    fresh.restart()
    assert fresh.call(add, 1, 1) == 2
    assert fresh.info().worker_pid != old
    assert fresh.info().state == "idle"


def test_results_before_the_death_are_not_lost(fresh):
    """What was finished before the worker died arrives, a large value too."""
    small = [fresh.submit(add, i) for i in range(100)]
    large = fresh.submit(lambda: b"x" * 60_000_000)
    last = fresh.submit(die, "exit")
    after = fresh.submit(add, 1, 1)
    assert [one.result(SECONDS) for one in small] == list(range(100))
    assert len(large.result(SECONDS)) == 60_000_000
    for call in (last, after):
        with pytest.raises(errors.SessionDiedError, match="status 7"):
            call.result(SECONDS)


def test_descendants_of_a_dead_worker_end(fresh):
    """Double-forked children of user code end with their session, by death and by close."""

    def orphan():
        import subprocess
        import sys

        code = (
            "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
            "print(os.getpid(), flush=True)\nos.close(1)\ntime.sleep(600)"
        )
        return int(subprocess.run([sys.executable, "-c", code], check=True, stdout=-1, stderr=-3).stdout)

    first = fresh.call(orphan)
    assert is_alive(first)
    with pytest.raises(errors.SessionDiedError):
        fresh.call(die, "kill")
    all_gone({first})
    fresh.restart()
    second = fresh.call(orphan)
    fresh.restart()
    all_gone({second})
    third = fresh.call(orphan)
    fresh.close()
    all_gone({third})


def test_exposed_functions_outlive_the_session(tmp_path, monkeypatch):
    """Calls by name go on when the session's process dies: they run in the program."""
    (tmp_path / "shop.py").write_text("import time\ndef slow(): time.sleep(0.5); return 'sold'\n")
    monkeypatch.chdir(tmp_path)
    with served(expose=("shop",)) as url, rpc_magic.connect(url, session="s") as conn:
        running = conn.submit("slow")
        with pytest.raises(errors.SessionDiedError):
            conn.call(die, "exit")
        assert running.result(SECONDS) == "sold"
        assert conn.call("slow") == "sold"
        with pytest.raises(errors.SessionDiedError):
            conn.call(add, 1)


# ---------------------------------------------------------------- restart and close


def test_restart(fresh):
    """Variables are gone, waiting calls end with SessionDiedError, the next call works."""
    fresh.push(a=1)
    waiting = fresh.submit(time.sleep, 600)
    eventually(lambda: fresh.info().state == "busy")
    fresh.restart()
    with pytest.raises(errors.SessionDiedError, match="restarted"):
        waiting.result(SECONDS)
    with pytest.raises(NameError):
        fresh.pull("a")


def test_restart_just_after_a_value_was_dropped(fresh):
    """Dropping values and restarting at once does not make the two wait for each other."""
    for _ in range(5):
        values = [fresh.put(i) for i in range(20)]
        del values
        with within(5):
            fresh.restart()


def test_close(fresh):
    """close() ends the private session, may be repeated, and later use is one clear sentence."""
    worker = fresh.call(os.getpid)
    waiting = fresh.submit(time.sleep, 600)
    fresh.close()
    fresh.close()
    with pytest.raises(errors.RpcMagicError, match="closed"):
        waiting.result(SECONDS)
    for use in (
        lambda: fresh.call(add, 1),
        lambda: fresh.submit(add, 1),
        lambda: fresh.run("1"),
        lambda: fresh.push(a=1),
        lambda: list(fresh.map(add, [1])),
        fresh.restart,
    ):
        with pytest.raises(errors.RpcMagicError, match="closed"):
            use()
    assert fresh.info().state == "closed"
    assert "closed" in repr(fresh)
    fresh.interrupt()
    all_gone({worker})


def test_request_that_cannot_be_read(fresh):
    """It breaks the protocol: the connection ends, instead of leaving its caller to wait."""
    with pytest.raises(errors.ConnectionLostError):
        fresh.run_cell(messages.RunCell(source=3), {})


def test_the_error_of_an_end_stays_small(fresh):
    """Each call after the end raises an error of its own, without the traces of those before."""
    with pytest.raises(errors.SessionDiedError):
        fresh.call(die, "exit")
    caught = []
    for _ in range(2):
        with pytest.raises(errors.SessionDiedError, match="my last words") as raised:
            fresh.call(add, 1)
        caught.append(raised.value)
    assert caught[0] is not caught[1]
    assert len(traceback.extract_tb(caught[0].__traceback__)) == len(
        traceback.extract_tb(caught[1].__traceback__)
    )


def test_connections_leave_nothing_behind(conn):
    """Connecting, working and closing many times leaves no descriptor, thread or process."""
    import threading

    def once():
        with rpc_magic.connect() as one:
            assert one.call(add, 1, 1) == 2
            assert list(one.map(add, [1, 2])) == [1, 2]
            one.put(3).get()

    def count():
        return descriptors_of("self"), threading.active_count(), len(family(supervisor))

    supervisor = conn.info().supervisor_pid
    once()
    eventually(lambda: conn.info().state == "idle")
    before = count()
    descriptors = descriptors_of(supervisor)
    for _ in range(5):
        once()
    eventually(lambda: count() <= before, f"{before} again, not {count()}")
    eventually(lambda: descriptors_of(supervisor) <= descriptors)


def test_server_ends(fresh):
    """SIGTERM to a server: waiting clients get ConnectionLostError, everything it started ends."""
    with served() as url:
        conn = rpc_magic.connect(url)
        waiting = conn.submit(time.sleep, 600)
        eventually(lambda: conn.info().state == "busy")
        pids = family(served.process.pid)
        served.process.terminate()
        # The call is interrupted when its time is over, so that it can clean up: its end may be the first to arrive.
        with pytest.raises((errors.ConnectionLostError, errors.RemoteInterrupt)):
            waiting.result(SECONDS)
        eventually(lambda: conn.state == "lost")
        with pytest.raises(errors.ConnectionLostError, match="told to end"):
            conn.call(add, 1)
        with pytest.raises(errors.ConnectionLostError):
            conn.restart()
        conn.close()
        all_gone(pids)
        with pytest.raises(errors.ConnectError, match="no server listens"):
            rpc_magic.connect(url, token="0" * 64)


def test_exposing_program_ends_with_its_server(tmp_path, monkeypatch):
    """The program of --expose ends with its server even while a function runs."""
    (tmp_path / "slow.py").write_text(
        "import time, os\ndef sleep(): time.sleep(600)\ndef pid(): return os.getpid()\n"
    )
    monkeypatch.chdir(tmp_path)
    with served(expose=("slow",), sessions=False) as url:
        conn = rpc_magic.connect(url)
        pids = {conn.call("pid"), served.process.pid}
        running = conn.submit("sleep")
        served.process.terminate()
        with pytest.raises(errors.ConnectionLostError):
            running.result(SECONDS)
        conn.close()
        all_gone(pids)
