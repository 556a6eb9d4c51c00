"""``rpc-magic known``: what is remembered of servers, and how one is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc_magic.cli import main
from rpc_magic.runtime import known
from rpc_magic.runtime.addresses import Address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder of the test's own."""
    path = tmp_path / "r"
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(path))
    return path


def note(host: str, name: str = "") -> None:
    known.remember(
        Address("rpc", host, 8000, fingerprint="ab" * 32), wanted=name, told="", token_file="/t" * bool(name)
    )


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each, with what ssh's known_hosts has; a sentence when there is none."""
    assert main(["known"]) == 0
    assert capsys.readouterr().out.startswith("No server is remembered")
    note("a", "lab")
    note("::1")
    assert main(["known"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["NAME", "ADDRESS", "FINGERPRINT", "TOKEN", "FILE"],
        ["-", "[::1]:8000", "ab" * 32, "-"],
        ["lab", "a:8000", "ab" * 32, "/t"],
    ]


def test_forget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name and by address, with what was kept of it; the others stay, and so does the user's own token file."""
    note("a", "lab")
    note("b", "gpu")
    known.keep_token(Address("rpc", "a", 8000), b"x" * 32)
    assert main(["known", "--forget", "lab"]) == 0
    assert capsys.readouterr().out == (
        f"Forgotten: lab (a:8000), whose certificate had the fingerprint {'ab' * 32}.\n"
    )
    assert [server.name for server in known.all_known()] == ["gpu"]
    assert len(list((folder / "known").iterdir())) == 1, "no token is left behind"
    assert main(["known", "--forget", "b:8000"]) == 0
    assert capsys.readouterr().out.startswith("Forgotten: gpu (b:8000), ")
    assert not list((folder / "known").iterdir())


@pytest.mark.parametrize("which", ["nobody", "b:8000", "", "unix:///s"])
def test_forget_what_is_not_known(which: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one sentence with status 2, and nothing is forgotten."""
    note("a")  # has no name
    assert main(["known", "--forget", which]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"rpc-magic: no server of the name or address {which!r} is remembered; see which are: rpc-magic known\n"
    )
    assert len(known.all_known()) == 1
