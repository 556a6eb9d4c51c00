"""Tokens: 256 random bits, 64 hexadecimal digits in a file of mode 0600.

When a token is replaced, the one before is good for a stated time. It is kept beside the file, in ``FILE.old``: its
digits, the seconds for which it is good, and until when (seconds since 1970).
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from pathlib import Path

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.folders import private_folder, state_folder
from rpc_magic.runtime.privatefiles import writing

__all__ = [
    "TOKEN_FILE_VARIABLE",
    "Token",
    "make_token",
    "new_token",
    "parse_token",
    "read_old_token",
    "read_token",
    "rotate",
    "token_path",
    "write_token",
]

TOKEN_FILE_VARIABLE = "RPC_MAGIC_TOKEN_FILE"
"""Environment variable that names a token file; servers and clients read it alike."""

_DIGITS = re.compile(r"[0-9a-fA-F]{64}\Z")


class Token(bytes):
    """The 32 bytes of a token. Its `repr` does not show them: tracebacks show variables."""

    def __repr__(self) -> str:
        return "<token>"

    __str__ = __repr__


def new_token() -> Token:
    """Return a fresh token."""
    return Token(secrets.token_bytes(32))


def parse_token(given: str | bytes) -> Token:
    """Return a token that is given as 64 hexadecimal digits, or as its 32 bytes.

    Raises:
        RpcMagicError: it is none. What was given is not repeated in the message: it may be half a secret.
    """
    if isinstance(given, bytes) and len(given) == 32:
        return Token(given)
    if not isinstance(given, (str, bytes)):
        raise RpcMagicError(f"a token is a text of 64 hexadecimal digits, not a {type(given).__name__}")
    text = (given if isinstance(given, str) else given.decode("ascii", "replace")).strip()
    found, size = _DIGITS.match(text), len(text)
    del given, text  # tracebacks show variables
    if not found:
        found_instead = f"{size} characters" if size != 64 else "other characters among its 64"
        raise RpcMagicError(f"a token has 64 hexadecimal digits; this one has {found_instead}")
    return Token(bytes.fromhex(found[0]))


def read_token(path: Path) -> Token:
    """Read a token file.

    Raises:
        RpcMagicError: it cannot be read, others may read it too, or it holds no token.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        reason = error.strerror or str(error)
        raise RpcMagicError(
            f"the token file {path} cannot be read: {reason}; state one that you can read, or none"
        ) from error
    with file:
        if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise RpcMagicError(f"others may read the token file {path}; run: chmod 600 {path}")
        try:
            return parse_token(file.read(4096).decode("ascii", "replace"))
        except RpcMagicError as error:
            raise RpcMagicError(
                f"the token file {path} holds no token: {error}; `rpc-magic token --show` prints one as it must be"
            ) from None


def token_path(name: str) -> Path:
    """Return where the token of a server of this name is kept, unless another file is stated.

    Raises:
        RpcMagicError: see `private_folder`.
    """
    return private_folder(state_folder() / "tokens") / f"{name or 'default'}.token"


def _old_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def rotate(path: Path, seconds: float) -> None:
    """Replace the token of a file; the one before is good for `seconds`.

    Raises:
        RpcMagicError: the file holds no token.
        OSError: it cannot be written.
    """
    old = read_token(path)
    # First the old one: at every moment that one is good which a client may read.
    with writing(_old_path(path)) as file:
        file.write(f"{old.hex()} {seconds} {time.time() + seconds}\n".encode())
    write_token(path, new_token())


def read_old_token(path: Path) -> tuple[Token, float] | None:
    """Return the token that a file held before, and for how many seconds it is still good; None when it is not."""
    try:
        digits, seconds, until = _old_path(path).read_text("ascii").split()
        left = min(float(seconds), float(until) - time.time())  # whatever the clock is set to
        return (parse_token(digits), left) if left > 0 else None
    except (OSError, ValueError, RpcMagicError):
        return None


def make_token(path: Path) -> None:
    """Make a token file where there is none; of two programs that do so at once, the first one's stays.

    Raises:
        OSError: it cannot be written.
    """
    with writing(path, replace=False) as file:
        file.write(_line(new_token()))


def write_token(path: Path, token: bytes) -> None:
    """Write a new token file; an existing one is replaced in one step.

    Raises:
        OSError: it cannot be written.
    """
    with writing(path) as file:
        file.write(_line(token))


def _line(token: bytes) -> bytes:
    return f"{token.hex()}\n".encode()
