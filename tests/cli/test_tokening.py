"""``rpc-magic token``: where it is, what it is, and a running server that takes another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import rpc_magic
from rpc_magic.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder of the test's own."""
    path = tmp_path / "r"
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(path))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["token", *arguments]) == 0
    return capsys.readouterr().out


def test_no_token_yet(capsys: pytest.CaptureFixture[str]) -> None:
    """Before a server has made it: one sentence that says how."""
    assert main(["token", "lab"]) == 2
    assert "rpc-magic serve --name lab" in capsys.readouterr().err
    assert main(["token", "no name"]) == 2
    assert "cannot name a server" in capsys.readouterr().err


def test_rotation(serve: Callable[..., tuple], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is shown when that is asked for; both are good for the stated time, the old one no longer."""
    _, url = serve("--port", "0", "--name", "lab")
    path = folder / "tokens" / "lab.token"
    first = path.read_text().strip()
    assert said(capsys, "lab") == f"The token is in {path}; --show prints it.\n"
    assert said(capsys, "lab", "--show") == f"{first}\n"
    out = said(capsys, "lab", "--rotate", "--keep", "600")
    second = path.read_text().strip()
    assert "another 600 s" in out
    assert first not in out
    assert second not in out
    assert second != first
    for token in (first, second):
        with rpc_magic.connect(url, token=token) as conn:
            assert conn.call(abs, -1) == 1
    assert "is good no longer" in said(capsys, "--token-file", str(path), "--rotate", "--keep", "0")
    for token in (first, second):
        with pytest.raises(rpc_magic.AuthenticationError):
            rpc_magic.connect(url, token=token)
    with rpc_magic.connect(url) as conn:
        assert conn.call(abs, -1) == 1
    with pytest.raises(SystemExit):
        main(["token", "lab", "--rotate", "--keep", "-1"])
