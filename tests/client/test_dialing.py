"""Connecting by TLS: everything works as without it; a wrong fingerprint is told before anything is said."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from live import eventually, served

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime import tokens


@pytest.fixture(scope="module")
def secure():
    """A server with TLS, at a loopback address."""
    with served(url="rpc://127.0.0.1:0") as url:
        yield url


def tls_threads():
    return {thread for thread in threading.enumerate() if thread.name == "rpc_magic-tls"}


def test_all_connections(secure):
    """Calls, errors, large values both ways, output, the engine and an interrupt go through TLS."""
    np = pytest.importorskip("numpy")
    pumps = tls_threads()
    with rpc_magic.connect(secure) as conn:
        assert conn.info().url == secure
        assert conn.call(pow, 2, 10) == 1024
        with pytest.raises(ZeroDivisionError):
            conn.call(lambda: 1 / 0)
        array = np.arange(3_000_000.0)
        assert (conn.call(lambda a: a + 1, array) == array + 1).all()
        shown = []
        conn.run("print('x' * 1_000_000)", on_output=lambda message: shown.append(message.text))
        assert len("".join(shown)) == 1_000_001
        assert list(conn.map(abs, [-1, -2])) == [1, 2]
        call = conn.submit(__import__("time").sleep, 600)
        eventually(lambda: conn.info().state == "busy", "the call to begin")
        assert call.cancel()
        eventually(lambda: conn.info().state == "idle", "the call to end")
        conn.restart()
        assert conn.call(abs, -1) == 1
    eventually(lambda: tls_threads() <= pumps, "the end of the threads")


def test_exposed_functions(tmp_path):
    """A program's server speaks TLS when its URL says so, also with the functions that it exposes."""
    program = tmp_path / "program.py"
    program.write_text(
        "import rpc_magic\n"
        "server = rpc_magic.Server('rpc://127.0.0.1:0', sessions=False, arguments='data')\n"
        "server.register(lambda a, b: a + b, 'add')\n"
        "server.serve_forever()\n"
    )
    import subprocess

    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("rpc://127.0.0.1:")
        with rpc_magic.connect(url) as conn:
            assert conn.call("add", 2, 3) == 5
            assert len(conn.call("add", b"x" * 5_000_000, b"!")) == 5_000_001
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_another_fingerprint(secure, runtime_dir):
    """It is a hard error that names the certificate's fingerprint and says what to do."""
    place, _, mark = secure.partition("/?fp=")
    wrong = "0" * 64
    with pytest.raises(
        errors.AuthenticationError, match=f"not the one that is known.*{mark}.*new key.*prints now"
    ) as caught:
        rpc_magic.connect(f"{place}/?fp={wrong}", token_file=runtime_dir / "tokens" / "default.token")
    assert "\n" not in str(caught.value)


def test_tls_is_told_from_plain(secure):
    """A plain server under an rpc:// URL, and the other way round: one sentence."""
    with served() as plain, pytest.raises(errors.ConnectError, match="closed the connection"):
        rpc_magic.connect(plain.replace("tcp", "rpc"), token="0" * 64)
    port = secure.partition("/?")[0].rpartition(":")[2]
    with pytest.raises(errors.ConnectError, match="closed the connection"):
        rpc_magic.connect(f"tcp://127.0.0.1:{port}", token="0" * 64)


def test_a_program_that_ends_at_once(secure, script):
    """A client that ends without close() has said that it leaves: its private session ends with it."""
    program = script(
        "import sys, rpc_magic\n"
        "conn = rpc_magic.connect(sys.argv[1])\nprint(conn.info().worker_pid, flush=True)\nconn.close()\n",
        secure,
    )
    pid = int(program.line())
    program.finish()
    eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_a_server_that_ends_says_so():
    """What it says last comes through, so the client knows that there is nothing to come back to."""
    with served(url="rpc://127.0.0.1:0") as url, rpc_magic.connect(url) as conn:
        served.process.terminate()
        eventually(lambda: conn.state == "lost", "the server's last word")
        with pytest.raises(errors.ConnectionLostError, match="told to end"):
            conn.call(abs, -1)


def test_coming_back_after_the_token_was_replaced(tmp_path):
    """A client that has its token from a file comes back with the new one, though the old one is good no more."""
    path = tmp_path / "token"
    tokens.write_token(path, tokens.new_token())
    with (
        served(url="rpc://127.0.0.1:0", token_file=str(path)) as url,
        rpc_magic.connect(url) as conn,
    ):
        conn.push(x=5)
        tokens.rotate(path, 0.0)
        conn.attachment.io.do(conn.attachment.cut)
        assert conn.pull("x") == 5
        eventually(lambda: conn.state == "attached", "being back")
        assert conn.call(abs, -1) == 1
