"""Tokens: 256 random bits, 64 hexadecimal digits in a file of mode 0600."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from rpc_magic.errors import RpcMagicError

__all__ = ["TOKEN_FILE_VARIABLE", "Token", "new_token", "parse_token", "read_token", "write_token"]

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


def write_token(path: Path, token: bytes) -> None:
    """Write a new token file; an existing one is replaced in one step.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(token.hex() + "\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
