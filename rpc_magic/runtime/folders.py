"""The private folders: mode 0700, owned by the user, checked at each use."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

import platformdirs

from rpc_magic.errors import RpcMagicError

__all__ = ["private_folder", "runtime_folder", "socket_path", "socket_place", "state_folder"]

_SOCKET_PATH_MAX = 100
"""Bytes of a Unix socket's path that every system takes (sockaddr_un holds 108 on Linux, 104 elsewhere)."""


def private_folder(path: Path) -> Path:
    """Make `path` (mode 0700) if it does not exist, check it, and return it.

    Raises:
        RpcMagicError: someone else owns it, or others may look into it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not hasattr(os, "getuid"):
        return path
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise RpcMagicError(
            f"{path} must be a folder of yours that nobody else can enter (mode 0700); "
            f"look at it, and remove it or run: chmod 700 {path}"
        )
    return path


def runtime_folder() -> Path:
    """Return this user's runtime folder, which holds sockets and records of the servers that run.

    It is `$RPC_MAGIC_RUNTIME_DIR` where that is set, else the platform's place for such things.

    Raises:
        RpcMagicError: see `private_folder`.
    """
    stated = os.environ.get("RPC_MAGIC_RUNTIME_DIR")
    if stated:
        return private_folder(Path(stated))
    if os.environ.get("XDG_RUNTIME_DIR") or sys.platform != "linux":
        return private_folder(platformdirs.user_runtime_path("rpc_magic"))
    # No login manager has made a place of the user's own: one of the temporary folder's.
    base = Path(tempfile.gettempdir(), f"rpc_magic-{os.getuid()}")
    return private_folder(base)


def state_folder() -> Path:
    """Return this user's folder for what outlives a restart of the machine: tokens, keys, servers that are remembered.

    It is `$RPC_MAGIC_RUNTIME_DIR` where that is set, else the platform's place for a program's data; where none can be
    made, because the user has no home, the runtime folder.

    Raises:
        RpcMagicError: see `private_folder`.
    """
    if os.environ.get("RPC_MAGIC_RUNTIME_DIR"):
        return runtime_folder()
    try:
        return private_folder(platformdirs.user_data_path("rpc_magic", appauthor=False))
    except OSError:
        return runtime_folder()


def socket_path(name: str) -> Path:
    """Return a path for a Unix socket, in the runtime folder or, where that is too deep, in a short private one.

    Raises:
        RpcMagicError: see `private_folder`.
    """
    path = runtime_folder() / name
    return _short_folder() / name if _is_too_long(path) else path


def socket_place(path: str) -> Path:
    """Return where the socket of this path is: there or, where no socket can have the path, in a short private folder.

    Server and client find it alike: they run as one user on one machine.

    Raises:
        RpcMagicError: see `private_folder`.
    """
    if not _is_too_long(Path(path)):
        return Path(path)
    return _short_folder() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def _is_too_long(path: Path) -> bool:
    return len(os.fsencode(path)) > _SOCKET_PATH_MAX


def _short_folder() -> Path:
    return private_folder(Path("/tmp", f"rpcm-{os.getuid()}"))
