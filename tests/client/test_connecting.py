"""connect(): what goes wrong is one clear sentence."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import pytest
from live import SECONDS, served, within

import rpc_magic
from rpc_magic import errors
from rpc_magic.client import attachment


def refusal(*args, kind=errors.ConnectError, **kwargs):
    """Return the text of the error that connect() raises; it must be one line."""
    with pytest.raises(kind) as caught:
        rpc_magic.connect(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rpc://127.0.0.1:8000/?fp=abc", "64 hexadecimal digits"),
        ("rpc://127.0.0.1:8000/?token=abc", "stands fp="),
        ("rpc://127.0.0.1", "no address"),
        ("ssh://me@host", "not built yet"),
        ("http://localhost:8000", "no address"),
        ("localhost:99999", "no address"),
        ("tcp://localhost", "no address"),
        ("unix://relative/path", "absolute"),
        ("tcp://192.0.2.1:8000", "TLS"),
        ("", "no server of that name"),
        ("nosuchserver", "no server of that name"),
        (":", "no address"),
    ],
)
def test_wrong_urls(url, said):
    """Each kind of wrong URL is told apart."""
    assert said in refusal(url, token="0" * 64)


def test_no_server_there(tmp_path):
    """A free port, and a path without a socket, however long the path is."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert "no server listens there" in refusal(f"localhost:{port}", token="0" * 64)
    assert "no server listens there" in refusal(f"unix://{tmp_path}/none.sock", token="0" * 64)
    assert "no server listens there" in refusal(f"unix://{tmp_path}/{'x' * 200}.sock", token="0" * 64)


def test_token_refused(url):
    """A wrong token is refused, without a word of it in the message; the right one works at once after."""
    text = refusal(url, token="ab" * 32, kind=errors.AuthenticationError)
    assert "token" in text
    assert "abab" not in text
    with rpc_magic.connect(url) as conn:
        assert conn.call(abs, -1) == 1


@pytest.mark.parametrize("token", ["", "xyz", "0" * 63, "0" * 65, 7, b"short"])
def test_token_that_is_none(url, token):
    """A text that cannot be a token."""
    assert "64 hexadecimal digits" in refusal(url, token=token, kind=errors.RpcMagicError)


@pytest.mark.parametrize("given", [{"token": "ab" * 32}, {"token_file": "token"}])
def test_a_token_for_no_server(given):
    """It is for a server that runs already, and is not silently left aside for a new one."""
    with pytest.raises(ValueError, match="give its URL or its name") as raised:
        rpc_magic.connect(**given)
    assert "abab" not in str(raised.value)


def test_token_files(url, tmp_path, monkeypatch, runtime_dir):
    """Missing, readable by others, empty; and one that is right, stated by argument and by the environment."""
    path = tmp_path / "token"
    assert "cannot be read" in refusal(url, token_file=path, kind=errors.RpcMagicError)
    path.write_text("0" * 64)
    path.chmod(0o644)
    assert "chmod 600" in refusal(url, token_file=path, kind=errors.RpcMagicError)
    path.chmod(0o600)
    assert "token" in refusal(url, token_file=path, kind=errors.AuthenticationError)
    path.write_text("")
    assert "holds no token" in refusal(url, token_file=path, kind=errors.RpcMagicError)
    right = runtime_dir / "tokens" / "default.token"
    assert right.stat().st_mode & 0o777 == 0o600
    with rpc_magic.connect(url, token_file=str(right)) as conn:
        assert conn.call(abs, -1) == 1
    with rpc_magic.connect(url, token=right.read_text().strip()) as conn:
        assert conn.call(abs, -1) == 1
    monkeypatch.setenv("RPC_MAGIC_TOKEN_FILE", str(right))
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "elsewhere"))
    with rpc_magic.connect(url) as conn:
        assert conn.call(abs, -1) == 1
    monkeypatch.delenv("RPC_MAGIC_TOKEN_FILE")
    assert "no token is known" in refusal(url, kind=errors.AuthenticationError)


def test_by_name(tmp_path):
    """A server is found by its name; a near miss is offered; a second one of that name is refused."""
    with served(name="gpu", url=f"unix://{tmp_path}/s") as url:
        with rpc_magic.connect("gpu") as conn:
            assert conn.name == "gpu"
            assert conn.info().url == url
        assert "gpu" in refusal("gpo")
        with pytest.raises(errors.ConnectError, match="runs already"), served(name="gpu"):
            pass
        with pytest.raises(errors.ConnectError, match="cannot name"), served(name="no good"):
            pass
    assert "no server of that name" in refusal("gpu")


def test_taken_addresses(url, tmp_path):
    """A taken port says so and offers port 0; a taken socket path; a path that is a file."""
    with pytest.raises(errors.ConnectError, match=r"taken.*--port 0"), served(url=url):
        pass
    path = tmp_path / "s"
    with (
        served(url=f"unix://{path}"),
        pytest.raises(errors.ConnectError, match="another server listens"),
        served(url=f"unix://{path}"),
    ):
        pass
    path.write_text("precious")
    with pytest.raises(errors.ConnectError, match="no socket"), served(url=f"unix://{path}"):
        pass
    assert path.read_text() == "precious"


@contextlib.contextmanager
def stranger(answer):
    """Listen, and treat each connection with `answer`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def run():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with sock:
                        answer(sock)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def silence(sock):
    while sock.recv(1000):
        pass


def test_strangers():
    """Silence, a closed door, another protocol, and a server that cannot prove the token."""
    with stranger(silence) as url, within(3):
        assert "in time" in refusal(url, token="0" * 64, timeout=0.3)
    with stranger(lambda sock: sock.recv(84)) as url:
        assert "closed" in refusal(url, token="0" * 64)
    with stranger(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(200))) as url:
        assert "Check the address" in refusal(url, token="0" * 64)
    received = []

    def pretend(sock):
        sock.recv(84)
        sock.sendall(b"rpcmagic\x01\0\0\0" + os.urandom(96))
        received.append(sock.recv(32))

    with stranger(pretend) as url:
        refusal(url, token="0" * 64, kind=errors.AuthenticationError)
    assert received == [b""], "nothing is proved to a stranger"


def test_wrong_arguments():
    """Arguments that make no sense are refused before anything is done."""
    with pytest.raises(ValueError, match="results"):
        rpc_magic.connect(results="none")
    with pytest.raises(TypeError):
        rpc_magic.connect(nonsense=1)


def test_info(conn):
    """info() names processes, versions and the bytes that went."""
    info = conn.info()
    assert info.name
    assert info.worker_pid == conn.call(os.getpid)
    assert info.host == socket.gethostname()
    assert info.state == "idle"
    assert info.python.count(".") == 2
    later = conn.info()
    assert later.bytes_sent > info.bytes_sent - 1
    conn.call(len, b"x" * 1000)
    assert conn.info().bytes_sent >= info.bytes_sent + 1000
    assert conn.info().bytes_received > info.bytes_received
    assert "local" in repr(conn)


def test_a_first_connection_that_is_lost_at_once(url, monkeypatch):
    """It is the error of `connect`, and nothing tries to make it again behind its back."""

    class Lost(attachment.ControlLink):
        def __init__(self, sock, url, io, on_event, on_lost, on_heard):
            told = threading.Event()
            super().__init__(sock, url, io, on_event, lambda: (on_lost(), told.set()), on_heard)
            self._frames.hang_up()
            assert told.wait(SECONDS)
            assert "rpc_magic-reconnect" not in {thread.name for thread in threading.enumerate()}

    monkeypatch.setattr(attachment, "ControlLink", Lost)
    with pytest.raises(errors.ConnectionLostError):
        rpc_magic.connect(url)
