"""The supervisor: what it loads, whom it lets in, what it survives. A real one, on loopback."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import time
from pathlib import Path

import pytest
from live import SECONDS, eventually, fair_clock, family, served, within

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime.tokens import read_token
from rpc_magic.wire.handshake import CHALLENGE_SIZE, ClientHandshake, Role, Verdict, read_verdict

FORBIDDEN = {"pickle", "_pickle", "dill", "cloudpickle", "numpy", "IPython", "multiprocessing"}

WATCH = """
import os, sys
if "rpc_magic.server" in sys.orig_argv:
    log = open(os.environ["WATCH_LOG"], "a", buffering=1)
    def hook(event, args):
        if event in ("import", "pickle.find_class"):
            log.write(f"{event} {args[0]}\\n")
    sys.addaudithook(hook)
"""


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A server whose supervisor writes down what it imports and unpickles."""
    folder, log = tmp_path / "site", tmp_path / "log"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("WATCH_LOG", str(log))
    with served() as url:
        yield url, log


def dial(url, timeout=SECONDS):
    host, port = url.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)), timeout)


def is_closed(sock):
    """Tell whether the other side closes, and says nothing first."""
    try:
        return sock.recv(1000) == b""
    except ConnectionError:
        return True


def descriptors_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def is_well(url):
    with rpc_magic.connect(url) as conn:
        return conn.call(abs, -1) == 1


@pytest.fixture
def token(url, runtime_dir):
    return read_token(runtime_dir / "tokens" / "default.token")


def prove(url, token, role=Role.CONTROL, ticket=bytes(16)):
    """Go through a handshake; return the socket and the verdict."""
    sock = dial(url)
    handshake = ClientHandshake(url, token, role, os.urandom(16), ticket)
    sock.sendall(handshake.hello)
    data = b""
    while len(data) < CHALLENGE_SIZE:
        data += sock.recv(CHALLENGE_SIZE - len(data))
    sock.sendall(handshake.proof(data))
    return sock, read_verdict(sock.recv(8, socket.MSG_WAITALL))


def test_loads_nothing_that_unpickles(watched):
    """Through sessions, calls, errors, deaths and attacks it imports no pickle, dill, numpy or IPython."""
    url, log = watched
    with rpc_magic.connect(url) as conn:
        conn.call(abs, -1)
        conn.restart()
        list(conn.map(abs, [-1, -2]))
        conn.info()
        with pytest.raises(rpc_magic.SessionDiedError):
            conn.call(os._exit, 1)
    for attack in (pickle.dumps({1: 2}) * 20, b"rpcmagic" + pickle.dumps(os.getcwd) * 10):
        with dial(url) as sock, contextlib.suppress(OSError):
            sock.sendall(attack)
            is_closed(sock)
    assert is_well(url)
    lines = log.read_text().split("\n")
    modules = {line.split()[1] for line in lines if line.startswith("import ")}
    assert "asyncio" in modules
    assert not {name for name in modules if name.split(".")[0] in FORBIDDEN}
    assert not {
        m for m in modules if m.startswith(("rpc_magic.serial", "rpc_magic.worker", "rpc_magic.client"))
    }
    assert not [line for line in lines if "find_class" in line]


def test_loads_nothing_that_unpickles_for_tls(tmp_path, monkeypatch):
    """Nor does it to make its key, nor to speak TLS."""
    folder, log = tmp_path / "site", tmp_path / "log"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("WATCH_LOG", str(log))
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "r"))
    with served(url="rpc://127.0.0.1:0") as url:
        assert is_well(url)
    imported = {
        line.split()[1].split(".")[0] for line in log.read_text().split("\n") if line.startswith("import ")
    }
    assert {"ssl", "cryptography"} <= imported
    assert not imported & FORBIDDEN


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\0" * 8,
        b"rpcmagix",
        b"\xff" * 84,
    ],
)
def test_other_protocols_are_closed_at_once(url, start):
    """After eight bytes that are not ours the connection is closed without a word."""
    with fair_clock() as now:
        with dial(url) as sock:
            sock.sendall(start)
            assert is_closed(sock)
        assert now() < 5, "by the timer"
    assert is_well(url)


def test_bad_hellos(url, token):
    """Another version, an unknown role or flag, and half a hello: closed without an answer."""
    hello = ClientHandshake(url, token, Role.CONTROL, os.urandom(16)).hello
    for change in ((8, 2), (8, 0), (9, 0), (9, 99), (10, 1)):
        bad = bytearray(hello)
        bad[change[0]] = change[1]
        with dial(url) as sock:
            sock.sendall(bad)
            assert is_closed(sock)
    with dial(url) as sock:
        sock.sendall(hello[:50])
        sock.shutdown(socket.SHUT_WR)
        assert is_closed(sock)
    with dial(url) as sock:
        for byte in hello:
            sock.sendall(bytes([byte]))
        assert len(sock.recv(CHALLENGE_SIZE, socket.MSG_WAITALL)) == CHALLENGE_SIZE


def test_wrong_proofs(url, token):
    """A wrong proof gets the one reply and the door, whatever role and ticket; the right token gets in at once."""
    for _ in range(50):
        for role in (Role.CONTROL, Role.DATA, Role.FUNCTIONS):
            with dial(url) as sock:
                handshake = ClientHandshake(url, token, role, os.urandom(16), os.urandom(16))
                sock.sendall(handshake.hello)
                sock.recv(CHALLENGE_SIZE, socket.MSG_WAITALL)
                sock.sendall(os.urandom(32))
                assert read_verdict(sock.recv(8, socket.MSG_WAITALL)) is Verdict.REFUSED
                assert is_closed(sock)
    with within(3):
        assert is_well(url)


def test_replayed_handshake(url, token):
    """What one client has sent is of no use to another."""
    sent = []
    with dial(url) as sock:
        handshake = ClientHandshake(url, token, Role.CONTROL, os.urandom(16))
        sent.append(handshake.hello)
        sock.sendall(handshake.hello)
        sent.append(handshake.proof(sock.recv(CHALLENGE_SIZE, socket.MSG_WAITALL)))
    with dial(url) as sock:
        sock.sendall(sent[0])
        sock.recv(CHALLENGE_SIZE, socket.MSG_WAITALL)
        sock.sendall(sent[1])
        assert read_verdict(sock.recv(8, socket.MSG_WAITALL)) is Verdict.REFUSED


def test_unknown_ticket(url, token):
    """A data or engine connection for a session that does not exist is told so; one for functions too."""
    for role, ticket in ((Role.DATA, os.urandom(16)), (Role.ENGINE, bytes(16)), (Role.FUNCTIONS, bytes(16))):
        sock, verdict = prove(url, token, role, ticket)
        with sock:
            assert verdict is Verdict.NO_SUCH_SESSION
            assert is_closed(sock)


def test_garbage_after_the_proof(url, token):
    """A client that breaks the protocol on its control connection loses it; the server goes on."""
    for garbage in (os.urandom(200), b"Rm\x01\0" + b"\xff" * 100, b"Rm\x01\0" + bytes(36)):
        sock, verdict = prove(url, token)
        with sock:
            assert verdict is Verdict.ADMITTED
            sock.settimeout(SECONDS)
            sock.sendall(garbage)
            with contextlib.suppress(ConnectionError):
                while sock.recv(4096):
                    pass
    assert is_well(url)


def test_garbage_on_a_data_connection(url, token):
    """A session drops a client that sends garbage and serves the next one."""
    with rpc_magic.connect(url, session="garbage") as conn:
        ticket = conn.attachment.ticket
        conn.push(x=1)
    for garbage in (os.urandom(200), b"Rm\x01\0" + b"\xff" * 36, b""):
        sock, verdict = prove(url, token, Role.DATA, ticket)
        with sock:
            assert verdict is Verdict.ADMITTED
            sock.settimeout(SECONDS)
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while sock.recv(4096):
                    pass
    with rpc_magic.connect(url, session="garbage") as conn:
        assert conn.pull("x") == 1


def test_secrets_are_nowhere(url, token, runtime_dir):
    """The token is not in the command line or the environment of any process of the server, nor in a repr."""
    with rpc_magic.connect(url) as conn:
        for pid in family(served.process.pid):
            for name in ("cmdline", "environ"):
                assert token.hex().encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        assert token.hex() not in repr(conn) + repr(conn.info())
    assert runtime_dir.stat().st_mode & 0o777 == 0o700
    for record in (runtime_dir / "servers").glob("*.json"):
        assert record.stat().st_mode & 0o777 == 0o600
        assert token.hex() not in record.read_text()


def test_embedded_socket_is_private(conn):
    """The embedded server's socket is the user's alone."""
    path = Path(conn.info().url.removeprefix("unix://"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_socket_and_record_go_with_the_server(tmp_path, runtime_dir):
    """A server that ends leaves neither its socket nor its record; a stale socket is replaced."""
    path = tmp_path / "s"
    for _ in range(2):
        with served(url=f"unix://{path}", name="brief"):
            assert path.is_socket()
            assert (runtime_dir / "servers" / "brief.json").exists()
        assert not path.exists()
        assert not (runtime_dir / "servers" / "brief.json").exists()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))


def test_vanished_client_leaves_its_session(url, script):
    """A client that is killed: its private session stays for a while, its named one stays, the server knows."""
    program = script(
        "import sys, time, rpc_magic\nconn = rpc_magic.connect(sys.argv[1], session='left')\n"
        "conn.push(x=5)\nprint('ready', flush=True)\ntime.sleep(600)",
        url,
    )
    program.line()
    program.process.kill()
    eventually(lambda: not [s for s in sessions(url) if s.name == "left" and s.client])
    with rpc_magic.connect(url, session="left") as conn:
        assert conn.pull("x") == 5


def sessions(url):
    from rpc_magic.wire import control

    with rpc_magic.connect(url, session="asks") as conn:
        return conn.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS).sessions


def test_running_calls_get_a_stated_time(tmp_path):
    """Told to end, a server makes no new session, lets what runs end and hands over its result, and then ends."""
    begun, go = tmp_path / "begun", tmp_path / "go"

    def wait():
        begun.touch()
        while not go.exists():
            time.sleep(0.01)
        return "done"

    with served(stop_seconds=SECONDS) as url, rpc_magic.connect(url) as conn:
        call = conn.submit(wait)
        eventually(begun.exists)
        served.process.terminate()
        eventually(lambda: _is_refused(url))
        go.touch()
        assert call.result(SECONDS) == "done"
        with pytest.raises(rpc_magic.ConnectionLostError, match="told to end"):
            eventually(lambda: conn.call(abs, -1) != 1)
        served.process.wait(SECONDS)


def test_a_name_that_is_too_long(monkeypatch):
    """One sentence says so; in the packets of the server's processes it would end the keeper, and all sessions."""
    with served() as url, rpc_magic.connect(url) as conn:
        monkeypatch.setenv("RPC_MAGIC_MACHINE", "elsewhere")  # its environment does not fill the packet
        for size in (201, 1_047_800):
            with pytest.raises(errors.ConnectError, match="a session's name has 200 characters at most"):
                rpc_magic.connect(url, session="x" * size)
        rpc_magic.connect(url, session="x" * 200).close()
        assert conn.call(abs, -1) == 1


def test_tasks_of_the_engine_get_a_stated_time(tmp_path):
    """Told to end, a server waits for what runs on a session's engine, with no call beside it."""
    go = tmp_path / "go"

    def wait(number):
        (tmp_path / f"begun-{number}").touch()
        while not go.exists():
            time.sleep(0.01)
        return number

    with served(stop_seconds=SECONDS) as url, rpc_magic.connect(url) as conn:
        tasks = [conn.pool.submit(wait, number) for number in range(2)]
        eventually((tmp_path / "begun-0").exists)
        served.process.terminate()
        eventually(lambda: _is_refused(url))
        go.touch()
        assert [task.result(SECONDS) for task in tasks] == [0, 1]
        served.process.wait(SECONDS)


def _is_refused(url):
    try:
        rpc_magic.connect(url).close()
    except rpc_magic.ConnectError as error:
        return "about to end" in str(error)
    return False


@pytest.mark.parametrize("is_told_again", [False, True])
def test_the_stated_time_is_over(tmp_path, is_told_again):
    """What still runs is interrupted, so that it can clean up, and its caller is told why; a second time at once."""
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"

    def wait():
        begun.touch()
        try:
            time.sleep(600)
        finally:
            cleaned.touch()

    seconds = 600.0 if is_told_again else 0.2
    with served(stop_seconds=seconds) as url, rpc_magic.connect(url) as conn:
        call = conn.submit(wait)
        eventually(begun.exists)
        served.process.terminate()
        if is_told_again:
            eventually(lambda: _is_refused(url))
            served.process.terminate()
        with pytest.raises(rpc_magic.ConnectionLostError, match="told to end"):
            call.result(SECONDS)
        served.process.wait(SECONDS)
        assert cleaned.exists()
