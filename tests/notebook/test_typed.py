"""Asking for a token: nobody who cannot answer is asked, and what is typed shows nowhere."""

from __future__ import annotations

import getpass
import io

import pytest
from IPython.core.error import StdinNotImplementedError

from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.typed import ask_token


@pytest.mark.parametrize("stdin", [None, io.StringIO("ab" * 32)])
def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None) -> None:
    """Without a page and without a terminal nothing is asked, and nothing is read."""
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(getpass, "getpass", lambda _: pytest.fail("somebody was asked"))
    assert ask_token("rpc://lab:1/", is_watched=False) is None


@pytest.mark.parametrize("error", [StdinNotImplementedError, EOFError])
def test_nobody_can_type(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """A front end without a place to type, and one that has gone, are as nobody."""

    def refuse(_: str) -> str:
        raise error

    monkeypatch.setattr(getpass, "getpass", refuse)
    assert ask_token("rpc://lab:1/", is_watched=True) is None


def test_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a token, which does not show itself; half of one is an error that does not repeat it."""
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "ab" * 32 if "rpc://lab:1/" in prompt else "")
    token = ask_token("rpc://lab:1/", is_watched=True)
    assert token == bytes.fromhex("ab" * 32)
    assert "ab" not in repr(token)
    monkeypatch.setattr(getpass, "getpass", lambda _: "cd" * 20)
    with pytest.raises(RpcMagicError, match="this one has 40") as caught:
        ask_token("rpc://lab:1/", is_watched=True)
    assert "cdcd" not in str(caught.value)
