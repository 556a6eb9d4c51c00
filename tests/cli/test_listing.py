"""``rpc-magic sessions``: which servers run, and who uses them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import rpc_magic
from rpc_magic.cli import main
from rpc_magic.runtime import records
from rpc_magic.runtime.processes import start_time


@pytest.fixture(autouse=True)
def _no_other_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime folder of its own: servers of other tests are not listed."""
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(tmp_path / "runtime"))


def test_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server it says how to start one."""
    assert main(["sessions"]) == 0
    assert "rpc-magic serve" in capsys.readouterr().out


def test_table(serve: Callable[..., tuple], capsys: pytest.CaptureFixture[str]) -> None:
    """A server without sessions has a row; so has each session, with its process, its age and its client."""
    _, empty = serve("--port", "0", "--name", "empty")
    _, used = serve("--port", "0", "--name", "used")
    with rpc_magic.connect("used", session="work") as conn:
        assert main(["sessions"]) == 0
        pid = conn.info().worker_pid
    title, first, second = capsys.readouterr().out.splitlines()
    assert title.split() == ["SERVER", "URL", "SESSION", "STATE", "PROCESS", "AGE", "CLIENT"]
    assert first.split() == ["empty", empty, "-", "-", "-", "-", "-"]
    assert second.split()[:5] == ["used", used, "work", "idle", str(pid)]
    assert f"process {os.getpid()}" in second
    assert title.index("CLIENT") == first.rindex("-")


def test_looking_opens_no_session(serve: Callable[..., tuple], capsys: pytest.CaptureFixture[str]) -> None:
    """Listing sessions makes none."""
    serve("--port", "0", "--name", "looked_at")
    for _ in range(2):
        assert main(["sessions"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[2] == "-"


def test_server_that_is_gone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A server that does not answer is named on standard error; the exit status is 1."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("ab" * 32)
    # This process stands in for a supervisor that no longer listens.
    record = records.ServerRecord(
        "deaf", f"unix://{tmp_path}/s", os.getpid(), start_time(os.getpid()), str(token)
    )
    records.write(record)
    assert main(["sessions"]) == 1
    assert capsys.readouterr().err.startswith("rpc-magic: deaf: cannot connect to unix://")
