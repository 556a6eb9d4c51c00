"""Row 10: started without TLS beyond loopback, or with a token file that is none: status 2, and nothing listens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from live import SECONDS

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime import launch

ABROAD = """
import socket
real = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    return real("192.0.2.7" if host == "lab.example" else host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def started(folder: Path, *options: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "rpc_magic", "serve", "--port", str(port), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**launch.environment(), **environ},
        cwd=folder,
        text=True,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def is_refused(folder: Path, *options: str, said: str, **environ: str) -> None:
    """Check that a server does not start, says why and what to do in one sentence, and listens nowhere."""
    with started(folder, *options, **environ) as (process, port):
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, out) == (2, ""), err
        assert said in err
        assert err.startswith("rpc-magic: ")
        assert err.count("\n") == 1
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "lab.example", "no.such.host.invalid"])
def test_no_tls(tmp_path: Path, host: str) -> None:
    """Every address, and a name of one, of other machines: no server without TLS."""
    (tmp_path / "sitecustomize.py").write_text(ABROAD)
    path = os.pathsep.join([str(tmp_path), launch.environment().get("PYTHONPATH", "")])
    is_refused(tmp_path, "--host", host, "--no-tls", said="leave out --no-tls", PYTHONPATH=path)


@pytest.mark.parametrize("url", ["tcp://0.0.0.0:0", "tcp://[::]:0"])
def test_no_tls_in_a_program(url: str) -> None:
    """A program's server is refused likewise."""
    with closing(rpc_magic.Server(url)) as server, pytest.raises(errors.ConnectError, match="without TLS"):
        server.start()


@pytest.mark.parametrize("content", [None, "", "ab" * 31, "no token at all", "ab" * 32])
def test_token_files(tmp_path: Path, content: str | None) -> None:
    """A folder, an empty file, a short one, a wrong one, one that others may read; by option or by environment."""
    path = tmp_path / "token"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
        path.chmod(0o644 if content == "ab" * 32 else 0o600)
    said = {
        None: "cannot be read: Is a directory; state one that you can read",
        "ab" * 32: f"run: chmod 600 {path}",
    }.get(content, "`rpc-magic token --show` prints one as it must be")
    is_refused(tmp_path, "--token-file", str(path), said=said)
    is_refused(tmp_path, said=said, RPC_MAGIC_TOKEN_FILE=str(path))
