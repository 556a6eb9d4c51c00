"""Servers that are remembered: by address and by name; a name is one server's; the files are private."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc_magic.errors import ConnectError
from rpc_magic.runtime import known
from rpc_magic.runtime.addresses import Address
from rpc_magic.runtime.tokens import new_token, read_token


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder of the test's own."""
    path = tmp_path / "r"
    monkeypatch.setenv("RPC_MAGIC_RUNTIME_DIR", str(path))
    return path


def at(host: str, mark: str = "ab") -> Address:
    return Address("rpc", host, 8000, fingerprint=mark * 32)


def note(address: Address, wanted: str = "", told: str = "server-8000", token_file: str = "") -> None:
    known.remember(address, wanted=wanted, told=told, token_file=token_file)


def test_nothing_is_known_at_first(folder: Path) -> None:
    """Asking finds nothing and makes nothing."""
    assert known.by_address(at("a")) is None
    assert known.by_name("a") is None
    assert not (folder / "known").exists()


def test_by_name_and_address(folder: Path) -> None:
    """It is found by its name and by its address, whatever fingerprint is asked with."""
    note(at("a"), wanted="lab", token_file="/t")
    assert (
        known.by_name("lab") == known.by_address(at("a", "cd")) == known.KnownServer(at("a").url, "lab", "/t")
    )
    assert known.by_address(at("b")) is None
    for path in (folder / "known").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (folder / "known").stat().st_mode & 0o777 == 0o700


def test_what_is_not_said_again_stays() -> None:
    """A later connection changes the fingerprint, and leaves name and token file where it names none."""
    note(at("a"), wanted="lab", token_file="/t")
    note(at("a", "cd"))
    assert known.by_name("lab") == known.KnownServer(at("a", "cd").url, "lab", "/t")


def test_a_name_that_the_user_gives_is_taken_from_another() -> None:
    """The last server that the user has called so is meant; a server cannot take a name by calling itself so."""
    note(at("a"), wanted="lab")
    note(at("b"), told="lab")
    assert known.by_name("lab").url == at("a").url
    assert known.by_address(at("b")).name == ""
    note(at("b"), wanted="lab")
    assert known.by_name("lab").url == at("b").url
    assert known.by_address(at("a")).name == ""


@pytest.mark.parametrize("name", ["", "no name", "../x", "x" * 100])
def test_names_that_are_none(name: str) -> None:
    """What cannot name a server is not noted as one, whoever said it."""
    note(at("a"), wanted=name, told=name)
    assert known.by_address(at("a")).name == ""


def test_forgetting() -> None:
    """By its name, and by its address in every spelling; a URL's fingerprint need not be the known one."""
    for spelling in (
        "lab",
        "127.0.0.1:8000",
        "localhost:8000",
        "rpc://127.0.0.1:8000/",
        at("127.0.0.1", "cd").url,
    ):
        note(at("127.0.0.1"), wanted="lab")
        note(at("b"), told="")
        assert known.forget(spelling) == [known.KnownServer(at("127.0.0.1").url, "lab")]
        assert known.all_known() == [known.KnownServer(at("b").url)]
    assert known.forget("lab") == known.forget("") == known.forget("127.0.0.1:8000") == []
    with pytest.raises(ConnectError, match="no address"):
        known.forget("a:b")


def test_a_broken_file(folder: Path) -> None:
    """A file that cannot be read is as none, and is written anew."""
    note(at("a"), wanted="lab")
    [path] = (folder / "known").iterdir()
    path.write_text("{")
    assert known.by_name("lab") is None
    note(at("a"), wanted="lab")
    assert known.by_name("lab") is not None


def test_a_token_that_was_typed() -> None:
    """It is kept in a file of mode 0600 of its own; typed again, it replaces the one before."""
    for token in (new_token(), new_token()):
        path = known.keep_token(at("a"), token)
        assert read_token(path) == token
        assert path.stat().st_mode & 0o777 == 0o600
    assert known.all_known() == []
