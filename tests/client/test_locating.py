"""Finding servers: on this machine by record, elsewhere by what is remembered of them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from live import served

import rpc_magic
from rpc_magic import errors
from rpc_magic.cli import main
from rpc_magic.runtime import known, launch
from rpc_magic.runtime.addresses import parse_address


@pytest.fixture
def abroad(tmp_path, monkeypatch):
    """A server on what this client takes for another machine; gives its URL and a copy of its token."""
    home = tmp_path / "server"
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(home))
    with served(url="rpc://127.0.0.1:0", name="gpu") as url:
        token = tmp_path / "token"
        token.touch(0o600)
        token.write_text((home / "tokens" / "gpu.token").read_text())
        monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "client"))
        yield url, token


def place(url: str) -> str:
    return url.partition("/?")[0]


def is_well(*args, **kwargs) -> str:
    with rpc_magic.connect(*args, **kwargs) as conn:
        assert conn.call(abs, -1) == 1
        return conn.name


def test_a_remembered_server(abroad):
    """It is reached by its own name, by the one that it was given, and by its address, token and fingerprint known."""
    url, token = abroad
    with pytest.raises(errors.TokenMissingError):
        rpc_magic.connect(url)
    with pytest.raises(errors.ConnectError, match="no server of that name"):
        rpc_magic.connect("gpu")
    assert is_well(url, token_file=token) == "gpu"
    assert is_well("gpu") == "gpu"
    assert is_well(place(url)) == "gpu"
    assert is_well(url, name="lab") == "lab"
    assert is_well("lab") == "lab"
    with pytest.raises(errors.ConnectError, match="lab"):
        rpc_magic.connect("lap")
    for path in (Path(token).parent / "client" / "known").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert token.read_text().strip() not in path.read_text()


def test_a_fingerprint_that_nobody_has_told(abroad):
    """Without one the proof of the token tells the server from others; then it is known."""
    url, token = abroad
    with pytest.raises(errors.AuthenticationError, match="could not prove"):
        rpc_magic.connect(place(url), token="0" * 64)
    with pytest.raises(errors.TokenMissingError):
        rpc_magic.connect(place(url))
    with rpc_magic.connect(place(url), token_file=token) as conn:
        assert conn.info().url == url
        assert conn.attachment.url == url


def test_a_changed_fingerprint(abroad, tmp_path, monkeypatch):
    """It is a hard error that says what to do, by name and by address; the URL that the server prints now is taken."""
    url, token = abroad
    assert is_well(url, token_file=token, name="lab") == "lab"
    served.process.terminate()
    served.process.wait()
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "server"))
    (tmp_path / "server" / "tls" / "server.pem").unlink()
    with served(url=place(url), name="gpu") as another:
        monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "client"))
        assert another != url
        for name in ("lab", place(url), url):
            with pytest.raises(
                errors.AuthenticationError, match=r"not the one that is known.*prints now"
            ) as caught:
                rpc_magic.connect(name, token_file=token)
            assert caught.value.fault == "certificate"
            assert "The token was read from" not in str(caught.value)
        assert is_well(another) == "lab"
        assert is_well("lab") == "lab"


def test_forgetting_a_changed_server(abroad, tmp_path, capsys):
    """The error names the command that forgets the server; after it, its address is connected to as at first."""
    url, token = abroad
    host = place(url).removeprefix("rpc://")
    old = known.KnownServer(f"rpc://{host}/?fp={'0' * 64}", "lab", str(token))
    known.remember(parse_address(old.url), wanted="lab", told="", token_file=old.token_file)
    for name in ("lab", place(url)):
        with pytest.raises(errors.AuthenticationError) as caught:
            rpc_magic.connect(name)
        command = str(caught.value).rpartition("with: ")[2]
        assert command == f"rpc-magic known --forget {host}"
    with pytest.raises(errors.AuthenticationError) as caught:  # here forgetting is of no use
        rpc_magic.connect(f"rpc://{host}/?fp={'1' * 64}")
    assert str(caught.value).endswith("use the URL that it prints now")
    assert main(shlex.split(command)[1:]) == 0
    with pytest.raises(errors.TokenMissingError):
        rpc_magic.connect(place(url))
    assert is_well(place(url), token_file=token, name="lab") == "lab"
    assert is_well("lab") == "lab"


def test_a_server_of_this_machine_that_uses_tls(runtime_dir):
    """Its port is enough: its record tells that it uses TLS, and with which certificate."""
    with served(url="rpc://127.0.0.1:0") as url:
        port = place(url).rpartition(":")[2]
        for text in (f"localhost:{port}", f"127.0.0.1:{port}", place(url)):
            with rpc_magic.connect(text) as conn:
                assert conn.attachment.url == url
        with pytest.raises(errors.ConnectError):
            rpc_magic.connect(f"tcp://127.0.0.1:{port}")


def test_every_address(tmp_path):
    """A server for every address prints a URL that can be connected to, here at least."""
    process, url = launch.start(launch.SupervisorConfig(url="rpc://0.0.0.0:0", session_ttl=60.0))
    try:
        assert "0.0.0.0" not in url
        port, mark = url.rpartition(":")[2].split("/")
        for text in (url, f"127.0.0.1:{port}", f"rpc://127.0.0.1:{port}/{mark}", f"rpc://localhost:{port}"):
            assert is_well(text)
        with pytest.raises(errors.AuthenticationError, match="not the one that is known"):
            rpc_magic.connect(f"rpc://127.0.0.1:{port}/?fp={'0' * 64}")
    finally:
        process.terminate()
        process.wait(60)
