"""Asking for a token: nobody who cannot answer is asked, and what is typed shows nowhere."""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.error import StdinNotImplementedError
from live import FACTOR

from rpc_magic.client.typed import ask_token
from rpc_magic.errors import RpcMagicError


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


PROGRAM = """
import fcntl, sys, termios
terminal = open(sys.argv[2], "r+b", buffering=0)
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)  # a program that somebody has started at that terminal
import rpc_magic
with rpc_magic.connect(sys.argv[1]) as conn:
    print(conn.call(abs, -1))
"""


class Terminal:
    """A program at a terminal, with a person who reads and types there.

    Args:
        url: to which it connects.
        folder: its private folder, in which no token is.
        is_piped: its standard input is not the terminal.
    """

    def __init__(self, url: str, folder: Path, *, is_piped: bool = False) -> None:
        self._master, slave = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url, os.ttyname(slave)],
            stdin=subprocess.DEVNULL if is_piped else slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "RPC_MAGIC_RUNTIME_DIR": str(folder / "elsewhere")},
            start_new_session=True,
            text=True,
        )
        os.close(slave)
        self.seen = b""

    def read_until(self, words: bytes) -> None:
        while words not in self.seen:
            self.seen += os.read(self._master, 4096)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def finish(self) -> tuple[str, str]:
        """Return what it has written to its standard output and its standard error."""
        said = self.process.communicate(timeout=60 * FACTOR)
        with contextlib.suppress(OSError):  # the other end is gone
            while more := os.read(self._master, 4096):
                self.seen += more
        os.close(self._master)
        return said


@pytest.fixture
def token(url: str, runtime_dir: Path) -> str:
    """The token of the server that the tests share."""
    return (runtime_dir / "tokens" / "default.token").read_text().strip()


def test_a_plain_program_at_a_terminal(url: str, token: str, tmp_path: Path) -> None:
    """It asks on the terminal, and what is typed is neither shown nor written anywhere."""
    terminal = Terminal(url, tmp_path)
    terminal.read_until(b"The token of " + url.encode())
    terminal.type(f"{token}\n")
    out, err = terminal.finish()
    assert (out, err, terminal.process.returncode) == ("1\n", "", 0)
    assert token.encode() not in terminal.seen
    assert not list((tmp_path / "elsewhere").rglob("*.token"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("\x04", "TokenMissingError: .*Give --token-file FILE"),
        ("nonsense\n", "a token has 64 hexadecimal digits; this one has 8"),
        (f"{'ab' * 32}\n", "AuthenticationError: .*could not prove"),
    ],
)
def test_what_is_no_token_at_a_terminal(url: str, tmp_path: Path, typed: str, said: str) -> None:
    """Ctrl-D, something else, another server's token: one error that says what to do, without what was typed."""
    terminal = Terminal(url, tmp_path)
    terminal.read_until(b"The token of ")
    terminal.type(typed)
    out, err = terminal.finish()
    assert (out, terminal.process.returncode) == ("", 1)
    assert re.search(said, err)
    assert "During handling" not in err
    assert typed == "\x04" or typed.strip() not in err


def test_a_program_whose_input_is_no_terminal(url: str, tmp_path: Path) -> None:
    """It is not asked, though it has a terminal: it may be a part of a script."""
    terminal = Terminal(url, tmp_path, is_piped=True)
    out, err = terminal.finish()
    assert (out, terminal.process.returncode, terminal.seen) == ("", 1, b"")
    assert "Give --token-file FILE (token_file=...), or set RPC_MAGIC_TOKEN_FILE." in err
