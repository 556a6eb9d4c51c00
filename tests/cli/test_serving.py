"""``rpc-magic serve``: the process, its first line, its options, its end."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

import rpc_magic
from rpc_magic.runtime import records
from rpc_magic.runtime.folders import socket_place
from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.tls import certificate_hash


def test_first_line_and_process(serve: Callable[..., tuple]) -> None:
    """The first line is the URL, with a real port; the process that was started is the supervisor itself."""
    process, url = serve("--port", "0", "--name", "first")
    assert url.startswith("tcp://127.0.0.1:")
    assert not url.endswith(":0")
    assert records.find("first").pid == process.pid
    with rpc_magic.connect("first") as conn:
        assert conn.call(pow, 2, 10) == 1024
        assert conn.info().supervisor_pid == process.pid


def test_end(serve: Callable[..., tuple], time_factor: float) -> None:
    """Ctrl-C ends it with status 0, and its record with it."""
    process, _ = serve("--port", "0", "--name", "ending")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30 * time_factor)
    assert process.returncode == 0
    assert records.find("ending") is None


def test_taken_port(serve: Callable[..., tuple], time_factor: float) -> None:
    """A taken port is told in one sentence that offers `--port 0`."""
    _, url = serve("--port", "0")
    port = url.rpartition(":")[2]
    process, line = serve("--port", port)
    _, words = process.communicate(timeout=30 * time_factor)
    assert (process.returncode, line) == (2, "")
    assert words == f"rpc-magic: port {port} is taken by another program. Use --port 0 to get a free one.\n"


def test_taken_name(serve: Callable[..., tuple], time_factor: float) -> None:
    """A name that another server has is refused."""
    serve("--port", "0", "--name", "same")
    process, line = serve("--port", "0", "--name", "same")
    _, words = process.communicate(timeout=30 * time_factor)
    assert (process.returncode, line) == (2, "")
    assert "use another --name" in words


def test_unix_socket(serve: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`--unix` listens on a socket, relative paths from the current folder."""
    _, url = serve("--unix", "s")
    assert url == f"unix://{tmp_path}/s"
    with rpc_magic.connect(url) as conn:
        assert conn.call(len, "abc") == 3


def test_expose(serve: Callable[..., tuple], tmp_path: Path) -> None:
    """`--expose` makes the public functions of a module of the current folder callable by name."""
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n\n\ndef _hidden():\n    pass\n")
    _, url = serve("--port", "0", "--expose", "sums")
    with rpc_magic.connect(url) as conn:
        assert conn.call("add", 2, 3) == 5
        with pytest.raises(rpc_magic.UnknownFunctionError, match="'add'"):
            conn.call("ad", 2, 3)
        with pytest.raises(rpc_magic.UnknownFunctionError):
            conn.call("_hidden")


def test_ctrl_c_with_exposed_functions(
    serve: Callable[..., tuple], tmp_path: Path, time_factor: float
) -> None:
    """Ctrl-C in the terminal, which every process of the command gets, ends it without a traceback."""
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    process, _ = serve("--port", "0", "--expose", "sums", foreground=True)
    os.killpg(process.pid, signal.SIGINT)
    _, words = process.communicate(timeout=30 * time_factor)
    assert process.returncode == 0
    assert "Traceback" not in words


def test_unix_socket_in_a_new_folder(serve: Callable[..., tuple], tmp_path: Path) -> None:
    """A missing folder is made, and nobody else can enter it; nor may anybody else open the socket."""
    _, url = serve("--unix", "new/s")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "s").stat().st_mode & 0o777 == 0o600
    with rpc_magic.connect(url) as conn:
        assert conn.call(len, "abc") == 3


def test_unix_socket_of_a_long_path(serve: Callable[..., tuple], tmp_path: Path, time_factor: float) -> None:
    """A path that no socket can have stands for one in a short private folder; it goes with the server."""
    long = f"{tmp_path}/{'x' * 120}/s"
    place = socket_place(long)
    process, url = serve("--unix", long)
    assert url == f"unix://{long}"
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    with rpc_magic.connect(url) as conn:
        assert conn.call(len, "abc") == 3
    another, _ = serve("--unix", long)
    assert "another server listens there" in another.communicate(timeout=30 * time_factor)[1]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30 * time_factor)
    assert not place.exists()


def test_unix_socket_in_no_folder(serve: Callable[..., tuple], time_factor: float) -> None:
    """Where the folder cannot be made, what is missing is named, and what to do about it."""
    process, _ = serve("--unix", "nowhere/at/s")
    _, words = process.communicate(timeout=30 * time_factor)
    assert process.returncode == 2
    assert words.endswith("/nowhere. Make it, or use another path.\n")


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o770, 0o1777])
def test_unix_socket_in_an_open_folder(
    serve: Callable[..., tuple], tmp_path: Path, time_factor: float, mode: int
) -> None:
    """A folder that others may enter is refused with the command that closes it; a shared one without."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    (tmp_path / "link").symlink_to(folder)
    for path in ("open/s", "link/s"):
        process, line = serve("--unix", path)
        _, words = process.communicate(timeout=30 * time_factor)
        assert (process.returncode, line) == (2, "")
        assert words.startswith(f"rpc-magic: others may enter {folder}, ")
        assert words.count("\n") == 1
        assert (f"chmod 700 {folder}, or use a path" in words) == (mode != 0o1777)
    assert not list(folder.iterdir())
    assert folder.stat().st_mode & 0o7777 == mode, "it is not changed by itself"


def test_expose_a_missing_module(serve: Callable[..., tuple], time_factor: float) -> None:
    """A module that cannot be imported ends the start with status 2 and its name."""
    process, line = serve("--port", "0", "--expose", "no_such_module")
    _, words = process.communicate(timeout=30 * time_factor)
    assert (process.returncode, line) == (2, "")
    assert "No module named 'no_such_module'" in words


def test_functions_only(serve: Callable[..., tuple], tmp_path: Path) -> None:
    """With `--no-sessions --arguments data` the exposed functions run on plain data, and nothing else runs."""
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    _, url = serve("--port", "0", "--expose", "sums", "--no-sessions", "--arguments", "data")
    with rpc_magic.connect(url) as conn:
        assert conn.call("add", [1], [2]) == [1, 2]
        with pytest.raises(rpc_magic.TransferError):
            conn.call("add", object(), 1)
        with pytest.raises(rpc_magic.RpcMagicError):
            conn.run("1 + 1")


def test_token_file(serve: Callable[..., tuple], tmp_path: Path) -> None:
    """With `--token-file` the token is the file's; another one is refused."""
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text("ab" * 32)
    _, url = serve("--port", "0", "--token-file", "token")
    with rpc_magic.connect(url, token="ab" * 32) as conn:
        assert conn.call(len, "abc") == 3
    with pytest.raises(rpc_magic.AuthenticationError):
        rpc_magic.connect(url, token="cd" * 32)


def test_for_other_machines(serve: Callable[..., tuple], tmp_path: Path) -> None:
    """Beyond loopback it uses TLS by itself; the URL has the fingerprint of the certificate, also of one's own."""
    pem = new_identity()
    mark = b"-----BEGIN CERTIFICATE-----"
    for name, content in (("key.pem", pem[: pem.index(mark)]), ("cert.pem", pem[pem.index(mark) :])):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(content)
    fingerprint = certificate_hash(ssl.PEM_cert_to_DER_cert((tmp_path / "cert.pem").read_text())).hex()
    _, made = serve("--host", "0.0.0.0", "--port", "0")
    _, own = serve("--host", "0.0.0.0", "--port", "0", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    for url in (made, own):
        assert url.startswith("rpc://")
        with rpc_magic.connect(url) as conn:
            assert conn.call(len, "abc") == 3
    assert own.endswith(f"/?fp={fingerprint}")
    assert not made.endswith(fingerprint)


def test_a_certificate_that_cannot_be_used(serve: Callable[..., tuple], time_factor: float) -> None:
    """It ends the start with status 2 and a sentence that names the file."""
    process, line = serve("--tls-cert", "none.pem", "--port", "0")
    _, words = process.communicate(timeout=30 * time_factor)
    assert (process.returncode, line) == (2, "")
    assert "none.pem cannot be used: No such file" in words
