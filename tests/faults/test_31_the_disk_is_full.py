"""Row 31: the disk is full: results still arrive, the user is warned, and no file is half written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checks import Server, unharmed
from live import SECONDS, eventually
from proxy import Proxy

import rpc_magic
from rpc_magic import errors

# Without privileges no disk can be filled; a limit on the size of files gives a process the same error.
FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"


def test_what_waits_for_a_client(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    """Output and results that the spool cannot take are kept in memory, and the client is told when it is back."""
    rpc_magic.connect(server.url, session="full").close()
    go = tmp_path / "go"

    def talk() -> bytes:
        import pathlib
        import time

        while not pathlib.Path(go).exists():
            time.sleep(0.01)
        for n in range(2_000):
            print(n, "x" * 50)
        return b"y" * 1_000_000

    with (
        unharmed(server, "came back"),
        rpc_magic.connect(proxy.url, token_file=server.token_file, session="full") as conn,
    ):
        conn.run(FULL)
        shown: list[str] = []
        conn.exchange.show = lambda message, _: shown.append(message.text)
        first, second = conn.submit(talk), conn.submit(bytes, 500_000)
        eventually(lambda: conn.info().state == "busy")
        proxy.refuse(True)
        go.touch()
        with rpc_magic.connect(server.url) as other:
            from rpc_magic.wire import control

            def is_idle() -> bool:
                answer = other.attachment.control.ask(control.ListSessions(), control.Sessions, SECONDS)
                return [one.state for one in answer.sessions if one.name == "full"] == ["idle"]

            eventually(is_idle)
        proxy.refuse(False)
        assert first.result(SECONDS) == b"y" * 1_000_000
        assert second.result(SECONDS) == bytes(500_000)
        eventually(lambda: "cannot be written" in "".join(shown))
        text = "".join(one for one in shown if "cannot be written" not in one)
        assert text == "".join(f"{n} {'x' * 50}\n" for n in range(2_000))


def test_a_checkpoint(server: Server, tmp_path: Path) -> None:
    """Variables that cannot be saved are an error; an older file stays whole, and nothing else is left."""
    file = tmp_path / "state.rpc"
    save = f"from rpc_magic.worker.checkpoints import load, save\nsave({str(file)!r})"
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.run(f"small = 1\n{save}")
        conn.run(FULL)
        with pytest.raises(errors.RpcMagicError, match="cannot be saved"):
            conn.run(f"large = bytes(100_000)\n{save}")
        assert list(tmp_path.iterdir()) == [file]
        assert "small" in conn.run(f"load({str(file)!r})").value


STARTED_FULL = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execv(sys.executable, [sys.executable, "-m", "rpc_magic", "serve", "--port", "0", "--name", "full"])
"""


@pytest.mark.parametrize("size", [0, 65, None], ids=["no token", "no record", "no URL"])
def test_a_server_that_cannot_start(tmp_path: Path, size: int | None) -> None:
    """One sentence that says where its files are, and status 2; none is half written, and nothing runs on."""
    folder = tmp_path / "r"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", STARTED_FULL, str(-1 if size is None else size)],
            env={**os.environ, "RPC_MAGIC_RUNTIME_DIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=full if size is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    line = [one for one in done.stderr.splitlines() if one.startswith("rpc-magic: ")]
    assert len(line) == 1
    assert line[0].startswith("rpc-magic: the server cannot start: ")
    assert line[0].endswith(f"its files are in {folder}")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == (
        [] if size == 0 else ["full.token"]
    )
