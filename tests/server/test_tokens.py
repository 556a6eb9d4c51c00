"""The tokens that are good: the file's, the one before for its time, and what a broken file changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from live import eventually

from rpc_magic.runtime.tokens import new_token, read_token, rotate, write_token
from rpc_magic.server.tokens import TokenSource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a token."""
    write_token(tmp_path / "token", new_token())
    return tmp_path / "token"


def test_a_token_without_a_file() -> None:
    """It is the one that is good, always."""
    assert TokenSource(b"t" * 32, "").good() == (b"t" * 32,)


def test_rotation(path: Path) -> None:
    """A new token is good at once, the one before for its time; the one before that no more."""
    first = read_token(path)
    source = TokenSource(first, str(path))
    assert source.good() == (first,)
    rotate(path, 60.0)
    second = read_token(path)
    assert source.good() == (second, first)
    assert TokenSource(second, str(path)).good() == (second, first), "a server that is started later"
    rotate(path, 0.2)
    third = read_token(path)
    assert third in source.good()
    assert first not in source.good()
    eventually(lambda: source.good() == (third,))
    assert TokenSource(third, str(path)).good() == (third,)


def test_a_file_that_goes_wrong(path: Path) -> None:
    """A file that is gone, or holds no token, or that others may read, changes nothing; a good one does."""
    token = read_token(path)
    source = TokenSource(token, str(path))
    path.unlink()
    assert source.good() == (token,)
    path.write_text("0" * 64)
    path.chmod(0o644)
    assert source.good() == (token,)
    path.unlink()
    path.touch(0o600)
    assert source.good() == (token,)
    write_token(path, another := new_token())
    assert source.good() == (another,)
