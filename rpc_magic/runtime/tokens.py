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

__all__ = [
    "TOKEN_FILE_VARIABLE",
    "Token",
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


def parse_token(text: str) -> Token:
    """Return the 32 bytes of a token written as 64 hexadecimal digits.

    Raises:
        RpcMagicError: it is none. The text is not repeated in the message: it may be half a secret.
    """
    text = text.strip()
    if not _DIGITS.match(text):
        raise RpcMagicError(f"a token has 64 hexadecimal digits; this one has {len(text)} characters")
    return Token(bytes.fromhex(text))


def read_token(path: Path) -> Token:
    """Read a token file.

    Raises:
        RpcMagicError: it cannot be read, others may read it too, or it holds no token.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4096).decode("ascii", "replace")
    except OSError as error:
        raise RpcMagicError(f"the token file {path} cannot be read: {error.strerror or error}") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise RpcMagicError(f"others may read the token file {path}; run: chmod 600 {path}")
    try:
        return parse_token(text)
    except RpcMagicError as error:
        raise RpcMagicError(f"the token file {path} holds no token: {error}") from None


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
    _write(_old_path(path), f"{old.hex()} {seconds} {time.time() + seconds}\n")
    write_token(path, new_token())


def read_old_token(path: Path) -> tuple[Token, float] | None:
    """Return the token that a file held before, and for how many seconds it is still good; None when it is not."""
    try:
        digits, seconds, until = _old_path(path).read_text("ascii").split()
        left = min(float(seconds), float(until) - time.time())  # whatever the clock is set to
        return (parse_token(digits), left) if left > 0 else None
    except (OSError, ValueError, RpcMagicError):
        return None


def write_token(path: Path, token: bytes) -> None:
    """Write a new token file; an existing one is replaced in one step.

    Raises:
        OSError: it cannot be written.
    """
    _write(path, f"{token.hex()}\n")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
