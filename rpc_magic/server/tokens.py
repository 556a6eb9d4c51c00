"""Which tokens are good now: that of the file, and for a stated time after it was replaced the one before."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.tokens import read_old_token, read_token

__all__ = ["TokenSource"]

log = logging.getLogger("rpc_magic.server")


class TokenSource:
    """A server's tokens; looks at the file each time, and reads it when it has changed.

    Args:
        token: the token.
        path: of its file; empty where it is in none.
    """

    def __init__(self, token: bytes, path: str) -> None:
        self._token, self._path = token, Path(path) if path else None
        self._old: bytes | None = None
        self._until = 0.0  # of `time.monotonic`: a clock that is set anew makes no token good or bad
        self._seen = self._state()
        self._take_old()

    def good(self) -> tuple[bytes, ...]:
        """Return one or two tokens."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            self._read()
        if self._old is not None and time.monotonic() >= self._until:
            self._old = None
        return (self._token,) if self._old is None else (self._token, self._old)

    def _state(self) -> tuple[int, int]:
        try:
            found = self._path.stat() if self._path is not None else None
        except OSError:
            found = None
        return (found.st_mtime_ns, found.st_ino) if found is not None else (0, 0)

    def _read(self) -> None:
        assert self._path is not None
        try:
            self._token = read_token(self._path)
        except RpcMagicError as error:
            log.warning("the token stays as it was: %s", error)
            return
        self._take_old()
        log.info("the token was replaced%s", "; the one before is good as well" if self._old else "")

    def _take_old(self) -> None:
        found = read_old_token(self._path) if self._path is not None else None
        self._old = found[0] if found is not None and found[0] != self._token else None
        self._until = time.monotonic() + found[1] if found is not None else 0.0
